"""The score table, and the warning where everything is noise."""

from __future__ import annotations

import pyarrow as pa
import pytest

from protea_ray.evaluate.tables.scores import score_table
from tests.evaluate.tables import made

VALUES = {
    made.SMALL: {"macro_f1": 0.467},
    made.COMPOSITION: {"macro_f1": 0.296},
    made.RANDOM: {"macro_f1": 0.1},
}


def test_a_row_for_each_task_and_input_with_strict_figures_and_controls_marked() -> None:
    found = score_table(made.rows("localization", "classification", VALUES))
    assert found.columns() == [
        "task", "metric", "input", "tested", "linear", "linear interval", "mlp", "mlp interval",
        "tested no relatives", "linear no relatives", "mlp no relatives",
    ]  # fmt: skip
    first, second, third = found.rows()
    assert first[:5] == ["localization", "macro_f1", "small-1a2b3c4d", "1,000", "0.467 ± 0.002"]
    assert first[8:] == ["600", "0.467 ± 0.002", "0.467 ± 0.002"]
    assert [row[2] for row in (second, third)] == ["composition (control)", "random 320 (control)"]
    assert found.warnings == ()
    assert "mean ± standard deviation over 5 seeds" in found.facts()[0]


def test_a_probe_that_a_task_does_not_have_is_empty() -> None:
    residue = made.rows("ss", "residue", {made.SMALL: {"accuracy": 0.666}}, probes=["linear"], counts={"all": 40})
    both = pa.concat_tables([made.rows("localization", "classification", VALUES), residue])
    (row,) = (row for row in score_table(both).rows() if row[0] == "ss")
    assert row[:3] + row[6:] == ["ss", "accuracy", "small-1a2b3c4d", "-", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("small", "random", "warned"),
    [(0.1048, 0.1, False), (0.1047, 0.1, True), (0.1, 0.1, True), (0.09, 0.1, True)],
    ids=["3.04 sd above", "2.97 sd above", "equal", "below"],
)
def test_less_than_three_standard_deviations_above_random_is_noise(small: float, random: float, warned: bool) -> None:
    """Seeds are 0.001 apart: their standard deviation is sqrt(10 / 4) / 1000 = 0.00158, three of them 0.00474."""
    values = {made.SMALL: {"macro_f1": small}, made.RANDOM: {"macro_f1": random}}
    found = score_table(made.rows("localization", "classification", values, probes=["linear"]))
    assert [str(w)[:44] for w in found.warnings] == ["localization, linear: small-1a2b3c4d, the be"] * warned
    assert any(fact.startswith("warning: localization, linear: ") for fact in found.facts()) is warned


def test_noise_is_judged_by_random_vectors_of_the_best_inputs_own_width() -> None:
    """Of the two widths the narrow one is above the best input, but that input is wide."""
    wide = made.Given("wide", width=640)
    values = {wide: 0.3, made.RANDOM: 0.4, made.Given("random 640", "random", 640): 0.1}
    found = score_table(made.rows("t", "classification", {i: {"macro_f1": v} for i, v in values.items()}))
    assert found.warnings == ()


def test_one_seed_and_no_random_vectors_say_that_nobody_can_tell() -> None:
    once = score_table(made.rows("localization", "classification", VALUES, seeds=[0]))
    assert str(once.warnings[0]).startswith("localization, linear: one seed, so whether small-1a2b3c4d is above noise")
    bare = score_table(made.rows("localization", "classification", {made.SMALL: {"macro_f1": 0.4}}))
    assert bare.warnings == ()
    assert bare.facts()[-1].startswith("no random vectors beside localization: whether the range there is noise")


def test_json_has_the_numbers_in_full_and_where_they_are_from() -> None:
    (score, *_) = score_table(made.rows("localization", "classification", VALUES)).to_json()["values"]
    assert score["probes"]["linear"]["value"] == pytest.approx(0.467)
    assert score["probes"]["mlp"]["seeds"] == [0, 1, 2, 3, 4]
    assert score["without_relatives"]["linear"]["count"] == 600
    facts = ("task", "split", "metric", "input", "space", "version", "pooling", "width", "train", "protocol")
    assert tuple(score[name] for name in facts) == (
        "localization", "given", "macro_f1", "small-1a2b3c4d", "small-1a2b3c4d", 3, "mean", 320, 1500, "0a1b2c3d",
    )  # fmt: skip


def test_no_rows_are_an_empty_table() -> None:
    empty = made.rows("t", "classification", {})
    assert score_table(empty).rows() == []
    assert score_table(empty).to_json() == {"values": [], "noise": []}
