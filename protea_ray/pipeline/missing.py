"""Which records of a run lack a vector: compared with the keys that spaces hold, one range of keys after the other.

Records are read in slices of row order, held keys in groups of fragments, and both are parted by ranges of keys; each
range is compared (`plan.delta`); what is wanted of a slice is put together in row order again. Each of these is a Ray
task that holds a part, and the driver holds references alone. Where one range is enough, one task does it all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import ray

from protea_ray.config.recipe import AlphabetName
from protea_ray.pipeline.pool import remote
from protea_ray.plan.delta import Counts, Delta, delta, sum_of
from protea_ray.plan.key_ranges import Partition, by_range, grouped_rows
from protea_ray.sequences.records import KEY
from protea_ray.store.key_columns import KeyRows, present_rows, protein_rows, read_columns, rejected_rows
from protea_ray.store.keys import KeyIndex, concat_keys, words
from protea_ray.store.ledger import ROW_ID, of_alphabet, present_keys, rejected_keys
from protea_ray.store.location import Location
from protea_ray.store.sql import among, both

if TYPE_CHECKING:
    from ray import ObjectRef

Call = Callable[..., list[Any]]  # (function, number of its results, arguments) -> the results, or references to them
MEMORY = 1 << 30  # bytes of one task
_RECORDS = pa.schema([(ROW_ID, pa.uint64()), ("length", pa.int32()), ("key", KEY), ("place", pa.uint32())])
_WANTED = [ROW_ID, "length", "mask"]


@dataclass(frozen=True)
class Slice:
    """The wanted ones of neighbouring rows, in row order.

    `wanted` refers to a table with one row per protein: `row` is its row id in proteins.lance, `length` counts
    residues, bit i of `mask` says that space number i lacks it.
    """

    proteins: int
    wanted: ObjectRef[Any]


@dataclass(frozen=True)
class Work:
    """What is left to embed; `counts` of each space are of all records of the run."""

    counts: tuple[Counts, ...]
    proteins: int
    residues: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class _DeltaJob:
    """Records, and the sources of the keys that they are compared with.

    `spaces` and `rejects` have one source for each space, None where there is no table.
    """

    records: KeyRows | None
    spaces: tuple[KeyRows | None, ...]
    rejects: tuple[KeyRows | None, ...]
    before: KeyRows | None
    partition: Partition

    @property
    def held(self) -> tuple[KeyRows | None, ...]:
        """All sources of keys, in the order in which `_compare_range` takes their keys."""
        return (self.before, *self.spaces, *self.rejects)


def find_work(
    location: Location,
    labels: Sequence[str] | None,
    spaces: Sequence[str],
    retry_rejects: bool,
    since: int | None = None,
    alphabet: AlphabetName | None = None,
    memory: int = MEMORY,
) -> Work:
    """Compare the proteins of these sources (None: all) with what each space holds, in tasks of about `memory` bytes.

    Of all sources only proteins that were read in `alphabet` (None: amino acids) are compared; with `since` only those
    that version of proteins.lance did not hold. Raises StoreError for a version that is not there.
    """
    readable = of_alphabet(alphabet) if labels is None else None  # given ones were read for this run
    records = protein_rows(location, both(among("source", labels) if labels is not None else None, readable))
    before = protein_rows(location, None, since) if since is not None else None
    present = tuple(present_rows(location, space) for space in spaces)
    rejects = tuple(None if retry_rejects else rejected_rows(location, space) for space in spaces)
    held = sum(rows.most for rows in (before, *present, *rejects) if rows)
    job = _DeltaJob(records, present, rejects, before, Partition.of(records.most if records else 0, held, memory))
    return _work(*(_in_one_task(job) if job.partition.ranges == 1 else _in_many_tasks(job)))


def missing_of(location: Location, keys: pa.Array, spaces: Sequence[str], retry_rejects: bool) -> Delta:
    """Which of `keys` each space lacks; keys that it rejected before are not missing, unless they are to be retried."""
    rejects = [concat_keys([]) if retry_rejects else rejected_keys(location, space) for space in spaces]
    return delta(keys, [concat_keys(list(present_keys(location, space))) for space in spaces], rejects)


def _work(compared: Sequence[Any], gathered: Sequence[Any], tables: Sequence[Any]) -> Work:
    """Add up what was counted in each range and in each slice; slices in which nothing is wanted are left out."""
    counts = [sum_of(found) for found in zip(*compared, strict=True)]
    slices = tuple(Slice(n, table) for (n, _), table in zip(gathered, tables, strict=True) if n)
    return Work(tuple(counts), sum(n for n, _ in gathered), sum(residues for _, residues in gathered), slices)


def _in_many_tasks(job: _DeltaJob) -> tuple[list[Any], list[Any], list[Any]]:
    compared, gathered, tables = _compare(job, _as_task)
    return ray.get(compared), ray.get(gathered), tables


def _in_one_task(job: _DeltaJob) -> tuple[list[Any], list[Any], list[Any]]:
    facts, *tables = _as_task(_compare_here, 1 + len(_slices(job)), job)
    compared, gathered = ray.get(facts)
    return compared, gathered, tables[: len(gathered)]


def _compare_here(job: _DeltaJob) -> list[Any]:
    compared, gathered, tables = _compare(job, _directly)
    return [(compared, gathered), *(tables or [None])]


def _compare(job: _DeltaJob, call: Call) -> tuple[list[Any], list[Any], list[Any]]:
    """Counts of each range; proteins and residues of each slice; the table of each slice."""
    ranges, slices = job.partition.ranges, _slices(job)
    records = [call(_split_records, ranges, job.records, group, ranges) for group in slices]
    held = [
        [call(_split_keys, ranges, rows, group, ranges) for group in _groups(rows, job.partition.keys)]
        for rows in job.held
    ]
    compared: list[Any] = []
    wanted: list[list[Any]] = []
    for part in range(ranges):
        of_held = [[group[part] for group in source] for source in held]
        sizes = [len(slices), *map(len, of_held)]
        of_part = [*(one[part] for one in records), *itertools.chain(*of_held)]
        found = call(_compare_range, 1 + len(slices), sizes, len(job.spaces), *of_part)
        compared.append(found[0])
        wanted.append(found[1:])
    gathered = [call(_gather, 2, *(of_part[number] for of_part in wanted)) for number in range(len(slices))]
    return compared, [facts for facts, _ in gathered], [table for _, table in gathered]


def _directly(function: Callable[..., Sequence[Any]], _: int, *arguments: Any) -> list[Any]:
    return list(function(*arguments))


def _as_task(function: Callable[..., Sequence[Any]], results: int, *arguments: Any) -> list[Any]:
    """Ray unpacks several results alone, so that a single one would be a list."""
    found = remote(function, num_cpus=1, num_returns=max(2, results)).remote(*arguments)
    return list(found)


def _slices(job: _DeltaJob) -> list[tuple[int, ...]]:
    return _groups(job.records, job.partition.records)


def _groups(rows: KeyRows | None, most: int) -> list[tuple[int, ...]]:
    """Fragments that are read together: at most `most` rows, unless one fragment has more."""
    return [rows.fragments[g.start : g.stop] for g in grouped_rows(rows.sizes, most)] if rows else []


def _split_records(rows: KeyRows, fragments: Sequence[int], ranges: int) -> list[pa.Table]:
    """Records of some fragments, parted by key range; `place` counts them in row order."""
    batches = list(read_columns(rows, fragments, ["key", "length"], row_ids=True))
    if not batches:
        return [_RECORDS.empty_table()] * ranges
    read = pa.Table.from_batches(batches)
    read = read.append_column("place", pa.array(np.arange(len(read), dtype=np.uint32)))
    read = read.select(_RECORDS.names).cast(_RECORDS)  # Lance says "not null" where rows were read
    return [read.take(part) for part in by_range(words(read["key"])[0], ranges)]


def _split_keys(rows: KeyRows, fragments: Sequence[int], ranges: int) -> list[pa.Array]:
    keys = concat_keys(list(_key_batches(rows, fragments)))
    return [keys.take(pa.array(part)) for part in by_range(words(keys)[0], ranges)]


def _key_batches(rows: KeyRows, fragments: Sequence[int]) -> Iterator[pa.Array]:
    return (batch.column("key") for batch in read_columns(rows, fragments, ["key"]))


def _compare_range(sizes: Sequence[int], spaces: int, *parts: Any) -> list[Any]:
    """Counts of each space, then what is wanted of each slice; all of one range of keys.

    `parts` are `sizes[0]` tables of records, one for each slice, then as many arrays of keys of each source as `sizes`
    says, the sources as `_DeltaJob.held` orders them.
    """
    ends = np.cumsum(sizes)
    tables = parts[: ends[0]]
    before, *held = (concat_keys(parts[low:high]) for low, high in itertools.pairwise(ends))
    records = pa.concat_tables(tables) if tables else _RECORDS.empty_table()
    of_slice = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    if len(before):
        new = ~KeyIndex(before).contains(records["key"])
        records, of_slice = records.filter(pa.array(new)), of_slice[new]
    found = delta(records["key"].combine_chunks(), held[:spaces], held[spaces:])
    wanted = records.select([ROW_ID, "length", "place"]).take(found.rows).append_column("mask", pa.array(found.masks))
    bounds = np.searchsorted(of_slice[found.rows], np.arange(len(tables) + 1))
    return [found.counts, *(wanted.slice(low, high - low) for low, high in itertools.pairwise(bounds))]


def _gather(*ranges: pa.Table) -> tuple[tuple[int, int], pa.Table]:
    """What is wanted of one slice, in row order, with the number of proteins and of their residues."""
    wanted = pa.concat_tables(ranges)
    wanted = wanted.take(np.argsort(wanted["place"].to_numpy())).select(_WANTED)
    lengths = wanted["length"].to_numpy()
    return (len(wanted), int(lengths.sum())), wanted.rename_columns(["row", "length", "mask"])
