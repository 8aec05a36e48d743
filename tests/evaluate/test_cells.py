"""What names a cell, and what its rows say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.evaluate.cells import Group, asked_rows, cell_rows, train_count
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.protocol import Protocol
from protea_ray.store.evaluations import EVALUATIONS
from tests.evaluate import quick_cells

SPACE = Input("esm2-1", 8, space="esm2-1", version=3, proteins=2, pooling="mean", model="m", recipe={"layers": [0]})
GROUP = Group(quick_cells.task(), SPACE, (0, 1), Protocol())


def changed_task() -> Any:
    task = quick_cells.task()
    return replace(task, targets=task.targets[::-1].copy())


@pytest.mark.parametrize(
    "other",
    [
        replace(GROUP, task=changed_task()),
        replace(GROUP, given=replace(SPACE, space="esm2-2")),
        replace(GROUP, given=replace(SPACE, pooling="max")),
        replace(GROUP, protocol=Protocol(epochs=7)),
    ],
)
def test_a_cell_is_another_where_its_numbers_may_be(other: Group) -> None:
    assert not set(other.cells()) & set(GROUP.cells())
    assert GROUP.cell(0) != GROUP.cell(1)


def test_a_cell_is_the_same_at_another_version_under_another_name() -> None:
    later = replace(SPACE, name="current", version=9, proteins=7, control="untrained")
    assert replace(GROUP, given=later, task=replace(GROUP.task, name="renamed")).cells() == GROUP.cells()


def test_rows_of_a_cell_have_all_columns() -> None:
    measured: Any = {"linear": [quick_cells.Value("all", "mcc", 10, None, np.zeros(3, np.float32))]}
    table = cell_rows(GROUP, 1, measured, "r1")
    assert table.schema == EVALUATIONS
    (row,) = table.to_pylist()
    assert (row["cell"], row["seed"], row["probe"], row["value"]) == (GROUP.cell(1), 1, "linear", None)
    assert (row["recipe"], row["resampled"], row["count"]) == ('{"layers": [0]}', [0.0, 0.0, 0.0], 10)


def test_the_training_proteins_of_several_folds_are_their_mean() -> None:
    task = replace(quick_cells.task(), fold=np.array([0] * 4 + [1] * 6 + [-1] * 10, np.int8))
    assert train_count(task) == 15, "16 and 14"


def test_rows_come_in_the_order_asked_for_and_say_what_the_input_is_now() -> None:
    other = replace(GROUP, given=Input("random 8", 8, control="random"))
    stored = pa.concat_tables(
        quick_cells.protein_rows(np.ones(1), group.task, group.given, group.seeds, group.protocol, "r1")
        for group in (GROUP, other)
    )
    as_control = replace(GROUP, given=replace(SPACE, name="twin", control="untrained"))
    found = asked_rows(stored, [other, as_control]).to_pylist()
    assert [(row["input"], row["control"], row["seed"], row["probe"]) for row in found] == [
        (name, control, seed, probe)
        for name, control in (("random 8", "random"), ("twin", "untrained"))
        for seed in (0, 1)
        for probe in ("linear", "mlp")
    ]
