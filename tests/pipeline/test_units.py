"""Wanted proteins are cut slice by slice into units that hold each of them once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.pipeline import units as module
from protea_ray.pipeline.missing import Slice, Work
from protea_ray.pipeline.units import Cutting, UnitPolicy, Units, UnitSource, plan_units
from protea_ray.plan.cost import Cost
from protea_ray.plan.units import Sizes, cut

COST = Cost(linear=1e-3, quadratic=1e-6)
GROUP = 64


def wanted(lengths: np.ndarray, first_row: int) -> pa.Table:
    return pa.table(
        {
            "row": pa.array(first_row + np.arange(len(lengths)), pa.uint64()),
            "length": pa.array(lengths, pa.int32()),
            "mask": pa.array(1 + np.arange(len(lengths)) % 3, pa.uint8()),
        }
    )


def work_of(*lengths: np.ndarray) -> Work:
    """One slice for each array of lengths; row ids count on."""
    starts = np.cumsum([0, *map(len, lengths)])
    slices: list[Any] = [Slice(len(of), wanted(of, int(at))) for of, at in zip(lengths, starts, strict=False)]
    return Work((), int(starts[-1]), int(sum(of.sum() for of in lengths)), tuple(slices))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks run when they are called, and references are the values themselves."""

    class Task:
        def __init__(self, function: Any) -> None:
            self.remote = function

    monkeypatch.setattr(module, "remote", lambda function, **_: Task(function))
    monkeypatch.setattr(module.ray, "get", lambda found: found)


def policy(actors: int = 2, widens: bool = False) -> UnitPolicy:
    return UnitPolicy("run", COST, GROUP, Sizes(seconds=8.0, actors=actors), widens)


def rows_of(units: Units) -> list[dict[str, Any]]:
    """The units as Ray Data reads them: task by task, block by block."""
    tasks = UnitSource(units).get_read_tasks(7)
    assert len(tasks) == len(units.slices)
    return [row for task in tasks for block in task() for row in block.to_pylist()]  # type: ignore[union-attr]


def drawn(*sizes: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(20, 1500, size) for size in sizes]


def test_one_slice_is_cut_as_the_plan_cuts_it() -> None:
    (lengths,) = drawn(1000)
    planned = plan_units(work_of(lengths), policy())
    found = rows_of(planned)
    costs = COST.of(lengths)
    expected = list(cut(lengths, costs, GROUP, Sizes(seconds=8.0, actors=2)))
    assert [row["unit"] for row in found] == [f"run.{unit.name}" for unit in expected]
    assert [row["rows"] for row in found] == [unit.members.tolist() for unit in expected]
    assert planned.count == len(expected) and planned.seconds == pytest.approx(costs.sum())


@pytest.mark.parametrize("sizes", [(1000, 1000, 1000), (1, 2, 700), (64, 128, 1)])
def test_several_slices_hold_every_protein_once_under_names_of_their_own(sizes: Sequence[int]) -> None:
    lengths = drawn(*sizes)
    planned = plan_units(work_of(*lengths), policy())
    found = rows_of(planned)
    members = [row for unit in found for row in unit["rows"]]
    assert sorted(members) == list(range(sum(sizes)))
    masks = {row: mask for unit in found for row, mask in zip(unit["rows"], unit["masks"], strict=True)}
    assert [masks[row] for row in range(sum(sizes))] == [1 + n % 3 for size in sizes for n in range(size)]
    assert len({unit["unit"] for unit in found}) == len(found)
    assert planned.seconds == pytest.approx(sum(COST.of(of).sum() for of in lengths))
    assert sum(unit["seconds"] for unit in found) == pytest.approx(planned.seconds)
    assert abs(planned.count - len(found)) <= 0.25 * len(found) + 2


def test_units_are_small_at_the_end_of_the_run_and_not_at_the_end_of_a_slice() -> None:
    """Four actors: the last units of the first slice are of full size, since as much again follows."""
    lengths = drawn(4000, 4000)
    found = rows_of(plan_units(work_of(*lengths), policy(actors=4)))
    first = [unit["seconds"] for unit in found if unit["rows"][0] < 4000]
    last = [unit["seconds"] for unit in found if unit["rows"][0] >= 4000]
    assert min(first) > 4.0
    assert np.mean(last[-8:]) < 0.6 * np.mean(first[-8:])


def test_groups_count_on_from_slice_to_slice() -> None:
    planned = plan_units(work_of(*drawn(100, 64, 10)), policy())
    assert [one.first_group for one in planned.slices] == [0, 2, 3]
    assert isinstance(planned.slices[0], Cutting)


def test_a_group_is_as_large_as_units_of_many_actors_need() -> None:
    (lengths,) = drawn(3000)
    many = UnitPolicy("run", COST, GROUP, Sizes(seconds=8.0, actors=20_000), widens=True)
    (one,) = plan_units(work_of(lengths), many).slices
    assert one.group == many.sizes.window(GROUP, float(COST.of(lengths).mean()))
    assert one.group > GROUP


def test_tables_hold_at_most_so_many_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNITS_PER_BLOCK", 5)
    planned = plan_units(work_of(*drawn(1000)), policy())
    (task,) = UnitSource(planned).get_read_tasks(1)
    blocks = [len(block) for block in task()]  # type: ignore[arg-type]
    assert set(blocks[:-1]) == {5} and 1 <= blocks[-1] <= 5
    assert sum(blocks) == planned.count
