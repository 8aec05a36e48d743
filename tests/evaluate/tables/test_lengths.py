"""Scores by length: counts, values and paired differences to a baseline."""

from __future__ import annotations

import numpy as np
import pytest

from protea_ray.errors import ConfigError
from protea_ray.evaluate.tables.lengths import length_table
from tests.evaluate.tables import made

COUNTS = {"all": 2000, "up_to_1022": 1700, "1023_to_2046": 270, "above_2046": 29}
LOSS = {"all": 0.0, "up_to_1022": 0.0, "1023_to_2046": 0.03, "above_2046": 0.06}
ROWS = made.rows(
    "go-bp",
    "multilabel",
    {made.SMALL: {"fmax": 0.37}, **{c: {"fmax": 0.3 - 0.01 * n} for n, c in enumerate(made.CONTROLS)}},
    counts=COUNTS,
    shift=lambda probe, subset, seed: -LOSS[subset],
)


def test_a_row_for_each_range_and_input_beside_the_untrained_model() -> None:
    found = length_table(ROWS)
    assert [(v.subset, v.given.name, v.reached.count) for v in found.values][3:5] == [
        ("up_to_1022", "random 320", 1700), ("1023_to_2046", "small-1a2b3c4d", 270),
    ]  # fmt: skip
    of_small = {v.subset: v for v in found.values if v.given.name == made.SMALL.name}
    assert [v.reached.value for v in of_small.values()] == pytest.approx([0.37, 0.34, 0.31])
    assert [v.difference.value for v in of_small.values() if v.difference] == pytest.approx([0.07] * 3)
    assert {v.baseline.name for v in found.values if v.baseline} == {made.UNTRAINED.name}
    assert [v.difference for v in found.values if v.given.name == made.UNTRAINED.name] == [None] * 3
    row = found.rows()[4]
    assert row[:6] == ["go-bp", "fmax", "1,023 to 2,046", "270", "small-1a2b3c4d", "0.340 ± 0.000"]
    assert (row[7], row[9]) == ("+0.070", made.UNTRAINED.name)


def test_the_difference_is_paired_within_the_range() -> None:
    small, untrained = (v for v in length_table(ROWS).values[:2])
    drawn = small.reached.draws.mean(axis=0) - untrained.reached.draws.mean(axis=0)
    assert small.difference is not None
    assert small.difference.interval == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-6)


def test_few_proteins_are_named() -> None:
    assert length_table(ROWS).facts()[-1].endswith("is too narrow to be trusted: go-bp above 2,046 (29)")
    enough = made.rows("go-bp", "multilabel", {made.SMALL: {"fmax": 0.37}}, counts={"above_2046": 30})
    assert len(length_table(enough).facts()) == 1


def test_a_baseline_that_is_named_is_that_of_all() -> None:
    found = length_table(ROWS, "mlp", "composition")
    assert {v.baseline.name for v in found.values if v.baseline} == {"composition"}
    assert found.values[1].difference is not None
    assert found.values[1].difference.value == pytest.approx(0.01)
    with pytest.raises(ConfigError, match="no input 'compositio'; did you mean composition"):
        length_table(ROWS, baseline="compositio")


def test_without_a_control_there_is_no_difference() -> None:
    bare = made.rows("go-bp", "multilabel", {made.SMALL: {"fmax": 0.37}}, counts=COUNTS)
    assert [row[-3:] for row in length_table(bare).rows()] == [["", "", ""]] * 3
    assert length_table(bare).to_json()["values"][0]["difference"] is None
