"""From the proteins of a run to a Ray data set of units: which keys are missing, how they are cut, their letters.

Missing keys are found and cut into units in remote tasks. Only counts and references come back, so the driver's memory
does not grow with the number of proteins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray
import ray.data

from protea_ray.config.recipe import AlphabetName
from protea_ray.pipeline.pool import remote
from protea_ray.plan.cost import Cost
from protea_ray.plan.delta import Counts, Delta, delta
from protea_ray.plan.units import Sizes, Unit, cut
from protea_ray.sequences.records import KEY
from protea_ray.store.keys import KeyIndex, concat_keys
from protea_ray.store.ledger import of_alphabet, present_keys, proteins_of, rejected_keys, take_proteins
from protea_ray.store.location import PROTEINS_TABLE, Location
from protea_ray.store.tables import open_table

if TYPE_CHECKING:
    from ray import ObjectRef

UNITS_PER_BLOCK = 64  # units that travel together from the cutting task until they are read


@dataclass(frozen=True)
class Work:
    """What is left to embed.

    `wanted`: reference to a table with one row per protein. `row` is its row number in proteins.lance, `length` counts
    residues, bit i of `mask` says that space number i lacks it.
    """

    counts: tuple[Counts, ...]
    proteins: int
    residues: int
    wanted: ObjectRef[Any]


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
class Units:
    """The units of a run: `tables` refers to tables of up to 64 units each, `seconds` the predicted compute of all."""

    count: int
    seconds: float
    tables: list[ObjectRef[Any]]


def find_work(
    location: Location,
    labels: Sequence[str] | None,
    spaces: Sequence[str],
    retry_rejects: bool,
    since: int | None = None,
    alphabet: AlphabetName | None = None,
) -> Work:
    """Compare the proteins of these sources (None: all) with what each space holds, in one remote task.

    Of all sources only proteins that were read in `alphabet` (None: amino acids) are compared; with `since` only those
    that version of proteins.lance did not hold. Raises StoreError for a version that is not there.
    """
    if since is not None:
        open_table(location.table(PROTEINS_TABLE), since)
    task = remote(_find, num_cpus=1, num_returns=2)
    facts, wanted = task.remote(location, labels, list(spaces), retry_rejects, since, alphabet)
    found: dict[str, Any] = dict(ray.get(facts))
    counts = tuple(Counts(**c) for c in found.pop("counts"))
    return Work(counts=counts, wanted=wanted, **found)


def _find(
    location: Location,
    labels: Sequence[str] | None,
    spaces: Sequence[str],
    retry_rejects: bool,
    since: int | None,
    alphabet: AlphabetName | None,
) -> tuple[dict[str, Any], pa.Table]:
    readable = of_alphabet(alphabet) if labels is None else None  # given ones were read for this run
    records = proteins_of(location, labels, ["key", "length"], filter=readable)
    if since is not None:
        before = KeyIndex(proteins_of(location, None, ["key"], version=since)["key"])
        records = records.filter(pa.array(~before.contains(records["key"])))
    found = missing_of(location, records["key"].combine_chunks(), spaces, retry_rejects)
    wanted = pa.table(
        {
            "row": records["_rowid"].to_numpy()[found.rows],
            "length": records["length"].to_numpy()[found.rows],
            "mask": found.masks,
        }
    )
    residues = int(wanted["length"].to_numpy().sum())
    facts = {"counts": [asdict(c) for c in found.counts], "proteins": len(wanted), "residues": residues}
    return facts, wanted


def missing_of(location: Location, keys: pa.Array, spaces: Sequence[str], retry_rejects: bool) -> Delta:
    """Which of `keys` each space lacks; keys that it rejected before are not missing, unless they are to be retried."""
    none = pa.array([], type=KEY)
    rejected = [none if retry_rejects else rejected_keys(location, space) for space in spaces]
    return delta(keys, [keys_of(location, space) for space in spaces], rejected)


def keys_of(location: Location, space: str) -> pa.Array:
    """All keys of a space, each once; empty for a space that is not there yet."""
    return concat_keys(list(present_keys(location, space)))


def cut_units(wanted: ObjectRef[Any], policy: UnitPolicy) -> Units:
    """Cut the wanted proteins into units of even predicted cost, in one remote task that streams tables."""
    task = remote(_cut, num_cpus=1, num_returns="streaming")
    stream = task.remote(wanted, policy)
    facts: dict[str, Any] = dict(ray.get(next(stream)))
    return Units(tables=list(stream), **facts)


def _cut(wanted: pa.Table, policy: UnitPolicy) -> Iterator[Any]:
    """Yield the number of units and their predicted seconds, then tables of units."""
    lengths = wanted["length"].to_numpy()
    costs = policy.cost.of(lengths)
    total, group = float(costs.sum()), policy.group
    if policy.widens:
        group = policy.sizes.window(group, total / len(costs))
    units = list(cut(lengths, costs, group, policy.sizes))
    yield {"count": len(units), "seconds": total}
    for start in range(0, len(units), UNITS_PER_BLOCK):
        yield _unit_table(units[start : start + UNITS_PER_BLOCK], wanted, policy.run)


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


def unit_dataset(location: Location, tables: list[ObjectRef[Any]]) -> ray.data.Dataset:
    """One block a unit, with the letters of its proteins: column `proteins` is a list of records."""

    def read(table: pa.Table) -> pa.Table:
        return read_letters(location, table)

    references: list[Any] = list(tables)  # Ray declares them as bytes or Arrow tables
    return (
        ray.data.from_arrow_refs(references)
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
