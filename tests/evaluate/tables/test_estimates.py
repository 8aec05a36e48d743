"""Rows become estimates: means over seeds, spreads, paired differences, and inputs that are told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.errors import ConfigError
from protea_ray.evaluate.tables.chosen_controls import named_input, usual_baseline
from protea_ray.evaluate.tables.estimates import Estimate, Estimates
from tests.evaluate.tables import made

VALUES = {
    made.SMALL: {"macro_f1": 0.46, "mcc": 0.4},
    made.RANDOM: {"macro_f1": 0.1, "mcc": 0.0},
    made.COMPOSITION: {"macro_f1": 0.3, "mcc": 0.2},
    made.UNTRAINED: {"macro_f1": 0.33, "mcc": 0.2},
}


def read(**options: object) -> Estimates:
    return Estimates.read(made.rows("localization", "classification", VALUES, **options))  # type: ignore[arg-type]


def the(found: Estimates, given: made.Given, **which: str) -> Estimate:
    """The linear probe's estimate of an input on the only task."""
    (facts,) = (i for i in found.inputs if i.digest == given.digest)
    estimate = found.find(found.tasks[0], facts, "linear", **which)
    assert estimate is not None
    return estimate


def test_mean_and_spread_are_over_seeds_and_the_interval_is_of_their_mean() -> None:
    shifts = [0.0, 0.01, -0.02, 0.03, 0.005]
    table = made.rows("localization", "classification", VALUES, shift=lambda probe, subset, seed: shifts[seed])
    found = the(Estimates.read(table), made.SMALL)

    values = 0.46 + np.array(shifts)
    assert found.value == pytest.approx(values.mean())
    assert found.sd == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 4))
    assert found.seed_error == pytest.approx(values.std(ddof=1) / np.sqrt(5))
    assert (found.seeds, found.count) == ((0, 1, 2, 3, 4), 1000)
    rows = [r for r in table.to_pylist() if (r["input"], r["probe"], r["subset"], r["metric"]) ==
            (made.SMALL.name, "linear", "all", "macro_f1")]  # fmt: skip
    drawn = np.array([row["resampled"] for row in rows]).mean(axis=0)
    assert found.interval == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-6)
    assert found.with_spread() == f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


def test_subsets_metrics_and_probes_are_kept_apart() -> None:
    def shift(probe: str, subset: str, seed: int) -> float:
        return {"linear": 0.0, "mlp": 0.05}[probe] - {"all": 0.0, "without_relatives": 0.1}[subset]

    found = read(shift=shift)
    assert the(found, made.SMALL).value == pytest.approx(0.46)
    assert the(found, made.SMALL, subset="without_relatives").value == pytest.approx(0.36)
    assert the(found, made.SMALL, subset="without_relatives").count == 600
    assert the(found, made.SMALL, metric="mcc").value == pytest.approx(0.4)
    assert found.probes == ("linear", "mlp")
    assert found.find(found.tasks[0], found.inputs[0], "mlp").value == pytest.approx(0.51)  # type: ignore[union-attr]
    assert found.find(found.tasks[0], found.inputs[0], "mlp", "accuracy") is None


def test_a_single_seed_has_no_spread() -> None:
    found = the(read(seeds=[3]), made.SMALL)
    assert (found.sd, found.seed_error, found.with_spread()) == (None, None, "0.461")


def test_what_is_not_defined_is_left_out_and_all_of_it_is_no_estimate() -> None:
    table = made.rows("stability", "regression", {made.SMALL: {"spearman": 0.5, "r2": None}})
    undefined = pa.Table.from_pylist(
        [{**r, "value": None, "resampled": []} if r["seed"] == 1 else r for r in table.to_pylist()], table.schema
    )
    found = Estimates.read(undefined)
    assert the(found, made.SMALL).seeds == (0, 2, 3, 4)
    assert found.find(found.tasks[0], found.inputs[0], "linear", "r2") is None


def test_draws_that_are_not_defined_leave_the_interval_to_the_others() -> None:
    draws = np.array([[0.1, 0.2, np.nan, 0.4]], np.float32)
    assert Estimate((0,), np.array([0.3]), draws, 9).interval == pytest.approx(
        tuple(np.percentile([0.1, 0.2, 0.4], [2.5, 97.5])), abs=1e-6
    )
    assert Estimate((0,), np.array([0.3]), draws * np.nan, 9).interval is None
    assert Estimate((0,), np.array([0.3]), np.empty((1, 0), np.float32), 9).interval is None


def test_a_difference_is_paired_by_draw() -> None:
    """The choice of proteins moves both by 0.02; what is left of it in the difference is 0.003."""
    found = read()
    one, other = the(found, made.SMALL), the(found, made.UNTRAINED)
    difference = one.minus(other)
    drawn = one.draws.mean(axis=0) - other.draws.mean(axis=0)
    assert difference.value == pytest.approx(0.13)
    assert difference.interval == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-6)
    low, high = difference.interval or (0, 0)
    assert high - low < 0.02 < 0.06 < (one.interval or (0, 0))[1] - (one.interval or (0, 0))[0]
    without = Estimate((0,), np.array([0.3]), np.empty((1, 0)), 9)
    assert one.minus(without).interval is None


def test_an_average_is_seed_by_seed() -> None:
    one = Estimate((0, 1, 2), np.array([1.0, 2.0, 4.0]), np.array([[1.0], [2.0], [4.0]]), 5)
    two = Estimate((1, 2, 3), np.array([10.0, 20.0, 30.0]), np.array([[10.0], [20.0], [30.0]]), 4)
    both = one.average(two)
    assert both is not None
    assert (both.seeds, both.values.tolist(), both.draws.tolist(), both.count) == ((1, 2), [6, 12], [[6], [12]], 4)
    assert one.average(Estimate((9,), np.array([1.0]), np.array([[1.0]]), 1)) is None


def test_subjects_come_first_then_controls_the_hardest_kind_first() -> None:
    names = [given.name for given in read().inputs]
    assert names == [made.SMALL.name, made.UNTRAINED.name, "composition", "random 320"]
    small, _, composition, _ = read().inputs
    assert (small.shown, composition.shown) == ("small-1a2b3c4d", "composition (control)")


def test_equal_names_are_told_apart_by_their_digests() -> None:
    twice = made.Given("vectors.h5", space="one/vectors.h5"), made.Given("vectors.h5", space="two/vectors.h5")
    both = made.rows("localization", "classification", {given: {"macro_f1": 0.5} for given in twice})
    other = made.rows("localization", "classification", {made.SMALL: {"macro_f1": 0.5}}, task_digest="ffff0000" * 2)
    found = Estimates.read(pa.concat_tables([both, other]))
    assert {given.name for given in found.inputs} == {
        f"vectors.h5 ({twice[0].digest[:8]})", f"vectors.h5 ({twice[1].digest[:8]})", "small-1a2b3c4d",
    }  # fmt: skip
    assert len({task.name for task in found.tasks}) == 2
    assert "localization (ffff0000, protocol 0a1b2c3d)" in {task.name for task in found.tasks}
    assert found.of_task(found.tasks[0]) != found.of_task(found.tasks[1])


def test_rows_in_another_order_give_the_same() -> None:
    table = made.rows("localization", "classification", VALUES)
    mixed = table.take(np.random.default_rng(0).permutation(len(table)))
    one, other = Estimates.read(table), Estimates.read(mixed)
    assert (one.tasks, one.inputs) == (other.tasks, other.inputs)
    assert the(one, made.SMALL).to_json() == the(other, made.SMALL).to_json()


def test_the_usual_baseline_is_the_untrained_model_of_the_same_width_then_the_composition() -> None:
    wide = made.Given("untrained-wide", "untrained", width=640)
    found = Estimates.read(
        made.rows("t", "classification", {given: {"macro_f1": 0.2} for given in (*VALUES, wide)}, probes=["linear"])
    )
    small = named_input(found, made.SMALL.name)

    def baseline(*left_out: str) -> str | None:
        chosen = usual_baseline([given for given in found.inputs if given.name not in left_out], small)
        return chosen.name if chosen else None

    assert baseline() == made.UNTRAINED.name
    assert baseline(made.UNTRAINED.name) == "untrained-wide"
    assert baseline(made.UNTRAINED.name, "untrained-wide") == "composition"
    assert baseline(made.UNTRAINED.name, "untrained-wide", "composition") == "random 320"
    assert baseline(made.UNTRAINED.name, "untrained-wide", "composition", "random 320") is None


def test_a_baseline_is_named_by_input_space_or_kind_and_a_mistake_lists_them() -> None:
    found = read()
    assert named_input(found, "random").name == "random 320"
    assert named_input(found, made.SMALL.name).name == made.SMALL.name
    with pytest.raises(ConfigError, match=r"no input 'small-1a2b3c4e'; did you mean small-1a2b3c4d\?; inputs: small-"):
        named_input(found, "small-1a2b3c4e")
    two = made.rows("t", "classification", {made.RANDOM: {"macro_f1": 0.1}, made.Given("random 640", "random", 640):
                    {"macro_f1": 0.1}})  # fmt: skip
    with pytest.raises(ConfigError, match="several inputs are 'random'; name one of random 320, random 640"):
        named_input(Estimates.read(two), "random")


def test_of_several_untrained_spaces_the_one_of_the_same_model_layers_and_pooling_is_the_baseline() -> None:
    first, last = made.RECIPE | {"layers": [1]}, made.RECIPE
    subjects = [made.Given(f"small-{pooling}-{n}", pooling=pooling, recipe=recipe)
                for n, recipe in enumerate((last, first)) for pooling in ("mean", "max")]  # fmt: skip
    twins = [replace(given, name=f"untrained-{given.name}", control="untrained", model="untrained:small")
             for given in subjects]  # fmt: skip
    other = replace(twins[0], name="untrained-esm2", model="untrained-esm2-8m")
    wide = replace(twins[0], name="untrained-wide", width=640)
    given = [other, wide, *twins[::-1], *subjects]
    found = Estimates.read(
        made.rows("t", "classification", {one: {"macro_f1": 0.2} for one in given}, probes=["linear"])
    )
    for subject in subjects:
        chosen = usual_baseline(found.inputs, named_input(found, subject.name))
        assert chosen is not None
        assert chosen.name == f"untrained-{subject.name}"
