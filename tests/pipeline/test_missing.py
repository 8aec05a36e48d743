"""Which records lack a vector, compared whole and in parts of any size, against dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.errors import StoreError
from protea_ray.pipeline import missing
from protea_ray.pipeline.missing import find_work
from protea_ray.plan.delta import Counts
from protea_ray.sequences.records import REJECTS_SCHEMA
from protea_ray.store.location import Location, open_location
from protea_ray.store.spaces import ensure_space
from protea_ray.store.tables import open_table
from tests.store import build

SPACES = ("esm2-00000001", "esm2-00000002")
SOURCES = 6


@dataclass(frozen=True)
class Made:
    """A store, and in plain Python what it holds: (source, number) of records in row order."""

    location: Location
    records: list[tuple[str, int]]
    present: list[set[int]]
    rejected: list[set[int]]
    first_sources: int  # version of proteins.lance after the first two sources


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """300 records of 150 proteins from six sources, a fragment each; two spaces of several fragments."""
    rng = np.random.default_rng(3)
    location = open_location(tmp_path_factory.mktemp("missing") / "store")
    records: list[tuple[str, int]] = []
    version = 0
    for number in range(SOURCES):
        source, numbers = f"{number}.fasta#1", rng.integers(0, 150, 50).tolist()
        build.ingest(location, build.proteins(numbers, source), source, f"d{number}")
        records += [(source, n) for n in numbers]
        if number == 1:
            version = open_table(location.table("proteins")).version
    present = [set(rng.choice(150, 40, replace=False).tolist()) for _ in SPACES]
    rejected = [set(rng.choice(150, 30, replace=False).tolist()) - held for held in present]
    for space, held, refused in zip(SPACES, present, rejected, strict=True):
        ensure_space(location, build.info(space), build.schema())
        for part in np.array_split(sorted(held), 3):
            build.writer().append_table(location.table(space), build.rows(part.tolist(), "u", build.schema()))
        build.writer().append_table(location.table("rejects"), _rejects(space, refused))
    return Made(location, records, present, rejected, version)


def _rejects(space: str, numbers: set[int]) -> pa.Table:
    """Each twice, as a protein that was tried again has."""
    row = {
        "id": "i",
        "stage": "embed",
        "space": space,
        "reason": "non_finite",
        "detail": "d",
        "attempts": 1,
        "source": "s",
        "line": 1,
        "run": "r",
    }
    given = [row | {"key": build.key(n)} for n in sorted(numbers) for _ in range(2)]
    return pa.Table.from_pylist(given, REJECTS_SCHEMA)


def expected(
    made: Made, sources: Sequence[str] | None, retry: bool, since: bool
) -> tuple[list[tuple[int, int, int]], list[Counts]]:
    """(row, length, mask) of what is wanted in row order, and the counts of each space."""
    old = {n for source, n in made.records if source in ("0.fasta#1", "1.fasta#1")} if since else set[int]()
    rows = [(row, n) for row, (source, n) in enumerate(made.records) if sources is None or source in sources]
    rows = [(row, n) for row, n in rows if n not in old]
    wanted: dict[int, int] = {}
    counts: list[Counts] = []
    for bit, (held, refused) in enumerate(zip(made.present, made.rejected, strict=True)):
        seen: set[int] = set()
        ends = {"present": 0, "duplicate": 0, "rejected": 0, "wanted": 0}
        for row, n in rows:
            end = "wanted"
            if n in held:
                end = "present"
            elif n in seen:
                end = "duplicate"
            elif n in refused and not retry:
                end = "rejected"
            seen.add(n)
            ends[end] += 1
            if end == "wanted":
                wanted[row] = wanted.get(row, 0) | 1 << bit
        counts.append(Counts(len(rows), ends["present"], ends["duplicate"], ends["rejected"], ends["wanted"]))
    return [(row, len(build.sequence(made.records[row][1])), wanted[row]) for row in sorted(wanted)], counts


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run what would be tasks at once; the names of those that were called."""
    called: list[str] = []

    def at_once(function, results, *arguments):  # type: ignore[no-untyped-def]
        called.append(function.__name__)
        return [*function(*arguments)]

    monkeypatch.setattr(missing, "_as_task", at_once)
    monkeypatch.setattr(missing.ray, "get", lambda found: found)
    return called


def of_slices(location: Location, work: missing.Work) -> list[tuple[int, int, int]]:
    """(row number, length, mask) of every wanted protein, in the order of the slices."""
    ids = open_table(location.table("proteins")).to_table(columns=[], with_row_id=True)["_rowid"].to_pylist()
    places = {row_id: place for place, row_id in enumerate(ids)}
    tables: list[Any] = [one.wanted for one in work.slices]
    assert [one.proteins for one in work.slices] == [len(table) for table in tables]
    return [(places[row["row"]], row["length"], row["mask"]) for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize("memory", [1 << 30, 20_000, 5_000, 300])
@pytest.mark.parametrize("sources", [None, ["1.fasta#1", "4.fasta#1"], []])
@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize("since", [False, True])
def test_parts_of_any_size_find_what_dictionaries_find(
    made: Made, memory: int, sources: list[str] | None, retry: bool, since: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = in_this_process(monkeypatch)
    work = find_work(made.location, sources, SPACES, retry, since=made.first_sources if since else None, memory=memory)
    rows, counts = expected(made, sources, retry, since)
    assert of_slices(made.location, work) == rows
    assert work.counts == tuple(counts)
    assert (work.proteins, work.residues) == (len(rows), sum(length for _, length, _ in rows))
    tasks = {name: called.count(name) for name in called}
    if memory == 1 << 30:
        assert tasks == {"_compare_here": 1}
    else:
        assert tasks["_compare_range"] > 1 and tasks["_split_records"] == tasks["_gather"]


def test_a_part_holds_what_its_memory_allows(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of at most 20,000 / 120 records, in fragments of 50; each range has about a quarter of the records."""
    sizes: list[list[int]] = []
    compare = missing._compare_range

    def seen(found, spaces, *parts):  # type: ignore[no-untyped-def]
        sizes.append([sum(len(part) for part in parts[: found[0]]), *found])
        return compare(found, spaces, *parts)

    seen.__name__ = "_compare_range"
    monkeypatch.setattr(missing, "_compare_range", seen)
    in_this_process(monkeypatch)
    find_work(made.location, None, SPACES, False, memory=20_000)
    assert {slices for _, slices, *_ in sizes} == {2}
    records = [records for records, *_ in sizes]
    assert sum(records) == 300 and len(records) == 4 and max(records) < 120


def test_a_store_without_proteins_wants_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch)
    work = find_work(open_location(tmp_path / "s"), None, SPACES, False)
    assert (work.proteins, work.slices, work.counts) == (0, (), (Counts(0, 0, 0, 0, 0),) * 2)


def test_a_version_that_is_not_there(made: Made) -> None:
    with pytest.raises(StoreError, match="version 99"):
        find_work(made.location, None, SPACES, False, since=99)


@pytest.mark.slow
def test_tasks_find_the_same(made: Made, cluster: None) -> None:
    """With Ray: many ranges, and one."""
    import ray

    rows, counts = expected(made, None, retry=False, since=False)
    for memory in (1 << 30, 20_000):
        work = find_work(made.location, None, SPACES, False, memory=memory)
        tables = [ray.get(one.wanted) for one in work.slices]
        assert [row["length"] for table in tables for row in table.to_pylist()] == [length for _, length, _ in rows]
        assert work.counts == tuple(counts)
