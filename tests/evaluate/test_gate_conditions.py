"""A figure alone is judged by its mean, a difference by the lower end of its paired interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.config.gate_file import TaskConditions
from protea_ray.evaluate.gate_conditions import TaskRows, unjudged
from protea_ray.pipeline.gate_figures import GateFigure
from tests.evaluate.gate_rows import DRAWS, evaluated, table

NEW = evaluated("new", [0.60, 0.62], own=0.02)
OLD = evaluated("old", [0.61, 0.61])


def figures(rows: pa.Table, before: str | None = "old", **conditions: Any) -> list[GateFigure]:
    asked = TaskConditions(task="loc", **conditions)
    return list(TaskRows(rows, asked, "macro_f1", "new", before, {"new": "mean", "old": "mean"}).figures())


@pytest.mark.parametrize(("least", "met"), [(0.60, True), (0.61, True), (0.6101, False)])
def test_a_lower_bound_is_compared_with_the_mean_of_the_seeds(least: float, met: bool) -> None:
    (found,) = figures(table(NEW, OLD), at_least=least)

    assert (found.figure, found.condition, found.wanted) == ("loc macro_f1 (linear)", "at_least", least)
    assert found.found == pytest.approx(0.61)
    assert found.met is met
    draws = np.sort(0.61 + DRAWS + 0.02 * np.sin(np.linspace(0, 20 * np.pi, len(DRAWS))))
    assert (found.low, found.high) == pytest.approx((draws[5], draws[195]), abs=1e-6)  # 201 draws: 2.5 % is number 5


@pytest.mark.parametrize(("margin", "met"), [(0.0, False), (0.019, False), (0.0201, True), (0.1, True)])
def test_no_worse_than_current_is_judged_by_the_lower_end_of_the_paired_interval(margin: float, met: bool) -> None:
    """The means are equal, and what the two share (0.19 wide) does not count: what is the new one's own does."""
    (found,) = figures(table(NEW, OLD), not_below_current_by=margin)

    assert (found.condition, found.wanted, found.met) == ("not_below_current_by", -margin, met)
    assert found.found == pytest.approx(0, abs=1e-9)
    assert found.low == pytest.approx(-0.02, abs=1e-3)
    assert found.high == pytest.approx(0.02, abs=1e-3)


@pytest.mark.parametrize(
    ("new", "margin", "errors", "met"),
    [(0.600, 0.01, 1, True), (0.597, 0.01, 1, True), (0.595, 0.01, 1, False), (0.595, 0.02, 1, True),
     (0.595, 0.01, 2, True), (0.580, 0.01, 2, False)],
)  # fmt: skip
def test_where_standard_errors_are_allowed_the_difference_itself_is_judged(
    new: float, margin: float, errors: float, met: bool
) -> None:
    """Its own noise is a sine of 0.02, whose standard deviation is 0.02 / sqrt(2) = 0.0141; the rest is shared."""
    rows = table(evaluated("new", [new, new], own=0.02), OLD)
    (found,) = figures(rows, not_below_current_by=margin, or_standard_errors=errors)

    assert found.condition == f"not_below_current_by, or {errors} standard error(s)"
    assert found.wanted == pytest.approx(-max(margin, errors * 0.02 / np.sqrt(2)), rel=0.01)
    assert (found.found, found.met) == (pytest.approx(new - 0.61), met)
    (strict,) = figures(rows, not_below_current_by=margin)
    assert not strict.met, "its interval reaches further down"


def test_what_was_not_evaluated_fails_whatever_is_allowed() -> None:
    (found,) = figures(table(NEW), not_below_current_by=0.01, or_standard_errors=1)
    assert found.verdict == "FAILED: old was not evaluated"


@pytest.mark.parametrize(("margin", "met"), [(0.10, True), (0.14, False)])
def test_above_a_control_by_more_than_chance(margin: float, met: bool) -> None:
    random = evaluated("", [0.45, 0.49], control="random", input_digest="random 8", pooling="")
    (found,) = figures(table(NEW, OLD, random), above_control={"random": margin})

    assert (found.condition, found.met) == ("above_control random", met)
    assert found.found == pytest.approx(0.14)


def test_every_condition_on_the_subset_and_the_probe_that_are_named() -> None:
    other: dict[str, Any] = {"probe": "mlp", "subset": "without_relatives"}
    rows = table(NEW, OLD, evaluated("new", [0.3, 0.3], **other), evaluated("old", [0.5, 0.5], **other))

    found = figures(rows, at_least=0.25, not_below_current_by=0.1, **other)

    assert [f.figure for f in found] == ["loc macro_f1 (mlp, without_relatives)"] * 2
    assert [f.met for f in found] == [True, False]
    assert [f.found for f in found] == pytest.approx([0.3, -0.2])


def test_without_a_space_before_the_comparison_does_not_apply() -> None:
    bound, relative = figures(table(NEW), before=None, at_least=0.5, not_below_current_by=0.01)

    assert (bound.met, relative.met) == (True, None)
    assert relative.verdict == "not applicable: the alias points to no other space"


def test_what_has_no_number_fails_and_says_why() -> None:
    undefined = evaluated("new", [0.5, None])

    assert [f.verdict for f in figures(table(undefined, OLD), at_least=0.1, not_below_current_by=0.9)] == [
        "FAILED: not defined for these 40 proteins"
    ] * 2
    (missing,) = figures(table(NEW, OLD), above_control={"untrained": -1})
    assert missing.verdict == "FAILED: no control untrained was evaluated"
    (nothing,) = figures(table(OLD), at_least=-1)
    assert (nothing.met, nothing.why) == (False, "new was not evaluated")
    asked = TaskConditions(task="loc", at_least=-1, not_below_current_by=1, above_control={"random": -1})
    assert [f.met for f in unjudged([asked], "no residues")] == [False] * 3


def test_of_several_controls_that_of_the_same_width_counts_and_of_several_twins_the_best() -> None:
    wide = evaluated("", [0.9, 0.9], control="random", input_digest="random 16", width=16, pooling="")
    same = evaluated("", [0.2, 0.2], control="random", input_digest="random 8", pooling="")
    twins = [evaluated(f"u{n}", [n / 10] * 2, control="untrained", trained=False) for n in (3, 4, 1)]
    rows = table(NEW, OLD, wide, same, *twins)

    random, untrained = figures(rows, above_control={"random": 0, "untrained": 0})

    assert random.found == pytest.approx(0.41)
    assert untrained.found == pytest.approx(0.21)


def test_an_untrained_space_of_the_alias_is_a_control_too() -> None:
    rows = table(NEW, evaluated("old", [0.4, 0.4], trained=False))

    (found,) = figures(rows, above_control={"untrained": 0.1})

    assert (found.met, found.found) == (True, pytest.approx(0.21))


def test_of_a_space_with_several_poolings_the_judged_one_counts() -> None:
    rows = table(
        evaluated("new", [0.9, 0.9], pooling="max", input_digest="new:max"),
        evaluated("new", [0.6, 0.6], pooling="mean", input_digest="new:mean"),
        evaluated("old", [0.6, 0.6], pooling="max"),
    )

    bound, relative = figures(rows, at_least=0.7, not_below_current_by=0.0)

    assert (bound.met, bound.found) == (False, pytest.approx(0.6))
    assert (relative.met, relative.found) == (True, pytest.approx(0.0))
