"""Normalised scores, against arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.evaluate.tables.normalised import Normalised, NormalisedTable, normalised_table
from tests.evaluate.tables import made

CLASSES = made.rows(
    "localization",
    "classification",
    {
        made.SMALL: {"mcc": 0.4, "macro_f1": 0.5},  # a 0.45
        made.second_layer(): {"mcc": 0.5, "macro_f1": 0.6},  # a 0.55, the best
        made.COMPOSITION: {"mcc": 0.2, "macro_f1": 0.3},  # a 0.25
        made.RANDOM: {"mcc": 0.0, "macro_f1": 0.1},  # a 0.05
    },
)
NUMBERS = made.rows(
    "stability",
    "regression",
    {
        made.SMALL: {"spearman": 0.6, "r2": 0.2},  # a 0.4
        made.COMPOSITION: {"spearman": 0.3, "r2": 0.1},  # a 0.2
        made.RANDOM: {"spearman": 0.0, "r2": -0.2},  # a -0.1
    },
)
TERMS = made.rows(
    "go-mf",
    "multilabel",
    {made.SMALL: {"f1max_micro": 0.5, "fmax": 0.9}, made.RANDOM: {"f1max_micro": 0.3, "fmax": 0.9}},
)


def by_name(table: NormalisedTable, task: str) -> dict[str, Normalised]:
    return {value.given.name: value for value in table.values if value.task.name == task}


def test_n_is_the_place_between_random_vectors_and_the_best() -> None:
    found = by_name(normalised_table(CLASSES), "localization")
    assert {name: v.n for name, v in found.items()} == pytest.approx(
        {"small-1a2b3c4d": 0.8, "small-5e6f7a8b": 1.0, "composition": 0.4, "random 320": 0.0}
    )
    assert found["small-1a2b3c4d"].a.value == pytest.approx(0.45)
    assert found["small-1a2b3c4d"].a.sd == pytest.approx(0.001 * np.sqrt(2.5))
    assert {v.noise for v in found.values()} == {False}


def test_numbers_and_terms_have_their_own_a() -> None:
    table = normalised_table(pa.concat_tables([NUMBERS, TERMS]))
    numbers = by_name(table, "stability")
    assert numbers["small-1a2b3c4d"].a.value == pytest.approx(0.4)
    assert numbers["composition"].n == pytest.approx(0.6)
    assert by_name(table, "go-mf")["small-1a2b3c4d"].a.value == pytest.approx(0.5)
    assert [row[1] for row in table.rows()[:2]] == ["f1max_micro", "f1max_micro"]


def test_the_last_rows_are_the_means_over_tasks() -> None:
    table = normalised_table(pa.concat_tables([CLASSES, NUMBERS, TERMS]))
    means = {mean.given.name: mean.n for mean in table.means}
    assert means == pytest.approx(
        {"small-1a2b3c4d": (0.8 + 1 + 1) / 3, "small-5e6f7a8b": 1.0, "composition": (0.4 + 0.6) / 2}
    )
    assert [row[:3] for row in table.rows()[-3:]] == [
        ["mean", "of 3 tasks", "small-1a2b3c4d"],
        ["mean", "of 1 task", "small-5e6f7a8b"],
        ["mean", "of 2 tasks", "composition (control)"],
    ]
    assert "the means of inputs over different tasks are not comparable" in table.facts()


def test_random_vectors_are_those_of_the_inputs_own_width() -> None:
    wide, wide_random = made.Given("wide", width=640), made.Given("random 640", "random", 640)
    values = {made.SMALL: 0.5, wide: 0.9, made.RANDOM: 0.1, wide_random: 0.3, made.COMPOSITION: 0.4}
    rows = made.rows("go-mf", "multilabel", {i: {"f1max_micro": v} for i, v in values.items()})
    found = by_name(normalised_table(rows), "go-mf")
    assert found["small-1a2b3c4d"].n == pytest.approx((0.5 - 0.1) / (0.9 - 0.1))
    assert found["wide"].n == pytest.approx(1.0)
    assert found["composition"].n == pytest.approx((0.4 - 0.3) / (0.9 - 0.3))  # the higher of the two


def test_a_task_whose_range_is_noise_is_marked_and_not_in_the_mean() -> None:
    noise = made.rows("noisy", "multilabel", {made.SMALL: {"f1max_micro": 0.304}, made.RANDOM: {"f1max_micro": 0.3}})
    none = made.rows("none", "multilabel", {made.SMALL: {"f1max_micro": 0.2}, made.RANDOM: {"f1max_micro": 0.3}})
    bare = made.rows("bare", "multilabel", {made.SMALL: {"f1max_micro": 0.2}})
    table = normalised_table(pa.concat_tables([CLASSES, noise, none, bare]))
    assert {row[0]: row[-1] for row in table.rows()} == {
        "bare": "no scale", "localization": "", "mean": "", "none": "no scale", "noisy": "noise",
    }  # fmt: skip
    assert {mean.given.name: mean.tasks for mean in table.means}["small-1a2b3c4d"] == ("localization",)
    (said,) = (fact for fact in table.facts() if fact.startswith("not in the mean"))
    assert set(said.rpartition(": ")[2].split(", ")) == {"bare", "noisy", "none"}


def test_the_interval_of_n_is_that_of_the_paired_distance_to_random_vectors() -> None:
    found = by_name(normalised_table(CLASSES), "localization")
    value, zero, best = (found[name].a for name in ("small-1a2b3c4d", "random 320", "small-5e6f7a8b"))
    drawn = value.draws.mean(axis=0) - zero.draws.mean(axis=0)
    low, high = np.percentile(drawn, [2.5, 97.5]) / (best.value - zero.value)
    assert found["small-1a2b3c4d"].n_low == pytest.approx(low, abs=1e-5)
    assert found["small-1a2b3c4d"].n_high == pytest.approx(high, abs=1e-5)


def test_another_probe_is_another_table() -> None:
    table = normalised_table(CLASSES, "mlp")
    assert table.title == "Normalised scores, mlp probe"
    assert normalised_table(CLASSES, "forest").rows() == []
    assert table.to_json()["values"][0]["n"] == pytest.approx(0.8)
