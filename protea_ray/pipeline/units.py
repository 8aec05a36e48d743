"""From the wanted proteins of a run to a Ray data set of units: cut slice by slice, with their letters.

A slice is cut when Ray Data asks for its units, so that the first are embedded before the last are cut. The driver
sees predicted seconds, and references.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from protea_ray.pipeline.missing import Work
from protea_ray.pipeline.pool import remote
from protea_ray.plan.cost import Cost
from protea_ray.plan.units import Sizes, Unit, cut
from protea_ray.store.ledger import take_proteins
from protea_ray.store.location import Location

if TYPE_CHECKING:
    from ray import ObjectRef

UNITS_PER_BLOCK = 64  # units that travel together from the cutting task until they are read


@dataclass(frozen=True)
class UnitPolicy:
    """How proteins become units; `cost` in seconds, `run` is put before every unit's name.

    `group`: proteins that are sorted by length together. `widens`: the group may be larger where units are large. Not
    where matrices of residues are stored: 4,096 proteins of 1,280 numbers a residue are 4 GB.
    """

    run: str
    cost: Cost
    group: int
    sizes: Sizes
    widens: bool


@dataclass(frozen=True)
class Cutting:
    """How one slice is cut: `left` seconds of the run are not in a unit before it, its sort groups count on from
    `first_group`, each of `group` proteins."""

    wanted: ObjectRef[Any]
    policy: UnitPolicy
    group: int
    first_group: int
    left: float


@dataclass(frozen=True)
class Units:
    """The units of a run, to be cut: `seconds` the predicted compute of all; `count` is foretold for several slices,
    and exact for one."""

    count: int
    seconds: float
    slices: tuple[Cutting, ...]


def plan_units(work: Work, policy: UnitPolicy) -> Units:
    """Foretell what the wanted proteins cost, and how each slice is to be cut; a task for each slice."""
    alone = len(work.slices) == 1
    task = remote(_foretell, num_cpus=1)
    found: list[tuple[float, int]] = ray.get([task.remote(one.wanted, policy, alone) for one in work.slices])
    total = sum(seconds for seconds, _ in found)
    group = _group(policy, total / work.proteins)
    ends = np.cumsum([seconds for seconds, _ in found])
    left = [total, *(total - ends[:-1])]
    groups = np.cumsum([0, *(-(-one.proteins // group) for one in work.slices)])
    slices = tuple(
        Cutting(one.wanted, policy, group, int(first), float(seconds))
        for one, first, seconds in zip(work.slices, groups[:-1], left, strict=True)
    )
    about = sum(_about(seconds, at, policy.sizes) for (seconds, _), at in zip(found, left, strict=True))
    return Units(found[0][1] if alone else about, total, slices)


def _group(policy: UnitPolicy, mean_cost: float) -> int:
    return policy.sizes.window(policy.group, mean_cost) if policy.widens else policy.group


def _about(seconds: float, left: float, sizes: Sizes) -> int:
    """Units of a slice of so many seconds, when `left` are not in a unit before it."""
    return max(1, round(seconds / sizes.next(left)))


def _foretell(wanted: pa.Table, policy: UnitPolicy, alone: bool) -> tuple[float, int]:
    """Predicted seconds of a slice and, when it is `alone`, the number of its units."""
    lengths = wanted["length"].to_numpy()
    costs = policy.cost.of(lengths)
    total = float(costs.sum())
    group = _group(policy, total / len(costs))
    return total, sum(1 for _ in cut(lengths, costs, group, policy.sizes)) if alone else 0


def _cut(how: Cutting) -> Iterator[pa.Table]:
    """Cut one slice; tables of units, as they are ready."""
    wanted: Any = ray.get(how.wanted)
    lengths = wanted["length"].to_numpy()
    costs = how.policy.cost.of(lengths)
    units: list[Unit] = []
    for unit in cut(lengths, costs, how.group, how.policy.sizes, left=how.left, first=how.first_group):
        units.append(unit)
        if len(units) == UNITS_PER_BLOCK:
            yield _unit_table(units, wanted, how.policy.run)
            units = []
    if units:
        yield _unit_table(units, wanted, how.policy.run)


class UnitSource(Datasource):
    """Reads each slice by cutting it."""

    def __init__(self, units: Units) -> None:
        super().__init__()
        self._units = units

    def get_name(self) -> str:
        """What Ray Data calls the step."""
        return "CutUnits"

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown: units are cut later."""
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """One task for each slice, however many were asked for."""
        nothing_known = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(partial(_cut, how), nothing_known) for how in self._units.slices]


def _unit_table(units: Sequence[Unit], wanted: pa.Table, run: str) -> pa.Table:
    rows, masks = wanted["row"].to_numpy(), wanted["mask"].to_numpy()
    return pa.table(
        {
            "unit": [f"{run}.{unit.name}" for unit in units],
            "seconds": [unit.cost for unit in units],
            "rows": pa.array([rows[unit.members] for unit in units], pa.list_(pa.uint64())),
            "masks": pa.array([masks[unit.members] for unit in units], pa.list_(pa.uint8())),
        }
    )


def unit_dataset(location: Location, units: Units) -> ray.data.Dataset:
    """One block a unit, with the letters of its proteins: column `proteins` is a list of records."""

    def read(table: pa.Table) -> pa.Table:
        return read_letters(location, table)

    return (
        ray.data.read_datasource(UnitSource(units), override_num_blocks=len(units.slices), num_cpus=0.5)
        .repartition(target_num_rows_per_block=1)
        .map_batches(read, batch_format="pyarrow", batch_size=1, num_cpus=0.5)
    )


def read_letters(location: Location, table: pa.Table) -> pa.Table:
    """Take the records of each unit from proteins.lance, in the unit's own order."""
    rows = table["rows"].combine_chunks()
    columns = ["id", "key", "sequence", "source", "line"]
    records = take_proteins(location, rows.flatten().to_numpy(), columns).combine_chunks()
    offsets = rows.offsets.to_numpy()
    structs = pa.StructArray.from_arrays([records[c].combine_chunks() for c in columns], names=columns)
    letters = pa.ListArray.from_arrays(pa.array(offsets - offsets[0], pa.int32()), structs)
    return table.drop_columns(["rows"]).append_column("proteins", letters)
