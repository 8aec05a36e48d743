"""A source is recorded exactly once, wherever the driver dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from protea_ray.errors import StoreError
from protea_ray.sequences.records import REJECTS_SCHEMA
from protea_ray.store.commit import write_fragments
from protea_ray.store.ledger import recorded_sources
from protea_ray.store.location import Location, open_location
from protea_ray.store.sources import SourceRow, record_sources
from protea_ray.store.tables import open_table
from tests.store import build


def record(location: Location, numbers: range, label: str, digest: str) -> bool:
    """A source whose records are `numbers`, the last of them rejected."""
    reject = {"id": "bad", "key": None, "source": label, "line": 99, "stage": "ingest", "reason": "letters",
              "detail": "", "attempts": 1, "run": "r1", "space": None}  # fmt: skip
    proteins = build.proteins(numbers[:-1], label)
    return record_sources(
        location,
        [SourceRow(label, digest, "v", "/data/a.fasta", "fasta", len(numbers), 1, 1)],
        protein_fragments=write_fragments(location.table("proteins"), proteins, proteins.schema),
        reject_fragments=write_fragments(
            location.table("rejects"), pa.Table.from_pylist([reject], REJECTS_SCHEMA), REJECTS_SCHEMA
        ),
        run="r1",
        writer=build.writer(),
    )


def contents(location: Location) -> tuple[list[str], int, list[tuple[str, int]]]:
    tables = {n: open_table(location.table(n)).to_table() for n in ("proteins", "rejects", "sources")}
    sources = [(r["source"], r["records"]) for r in tables["sources"].to_pylist()]
    return sorted(tables["proteins"]["id"].to_pylist()), tables["rejects"].num_rows, sources


def test_a_source_is_recorded_once(tmp_path: Path) -> None:
    location = open_location(tmp_path / "s")
    assert recorded_sources(location, "v") == {}
    assert record(location, range(6), "a#d1", "d1")
    assert not record(location, range(6), "a#d1", "d1")
    assert contents(location) == ([f"P{n:05d}" for n in range(5)], 1, [("a#d1", 6)])
    found = recorded_sources(location, "v")["d1"]
    assert (found["source"], found["proteins"], found["rejects"]) == ("a#d1", 5, 1)
    assert recorded_sources(location, "other options") == {}


def test_a_label_stands_for_one_file(tmp_path: Path) -> None:
    location = open_location(tmp_path / "s")
    record(location, range(6), "a", "d1")
    with pytest.raises(StoreError, match="other bytes"):
        record(location, range(6), "a", "d2")


def test_only_the_unfinished_source_is_removed(tmp_path: Path) -> None:
    location = open_location(tmp_path / "s")
    record(location, range(6), "it's a#d1", "d1")
    left = build.proteins(range(10, 14), "b#d2")
    build.writer().append_table(location.table("proteins"), left)
    record(location, range(10, 16), "b#d2", "d2")
    ids = [f"P{n:05d}" for n in [*range(5), *range(10, 15)]]
    assert contents(location) == (ids, 2, [("it's a#d1", 6), ("b#d2", 6)])


def test_sources_that_are_recorded_together(tmp_path: Path) -> None:
    """One fragment holds the rows of all; what an earlier attempt left of some is removed first."""
    location = open_location(tmp_path / "s")
    record(location, range(3), "old", "d0")
    rows = [SourceRow(f"s{n}", f"d{n + 1}", "v", "/data/s", "fasta", 2, 0, 9) for n in range(50)]
    proteins = pa.concat_tables([build.proteins([10 + 2 * n, 11 + 2 * n], f"s{n}") for n in range(50)])
    build.writer().append_table(location.table("proteins"), proteins.slice(0, 37))
    before = {name: open_table(location.table(name)).version for name in ("proteins", "sources")}

    def together(sources: list[SourceRow]) -> bool:
        return record_sources(
            location,
            sources,
            protein_fragments=write_fragments(location.table("proteins"), proteins, proteins.schema),
            reject_fragments=[],
            run="r1",
            writer=build.writer(),
        )

    assert together(rows)
    assert not together(rows)
    ids, _, sources = contents(location)
    assert ids == [f"P{n:05d}" for n in [0, 1, *range(10, 110)]]
    assert sources == [("old", 3), *((f"s{n}", 2) for n in range(50))]
    assert open_table(location.table("proteins")).version == before["proteins"] + 2  # a removal and a commit
    assert open_table(location.table("sources")).version == before["sources"] + 1
    with pytest.raises(StoreError, match="50 of 51 sources were recorded"):
        together([*rows, SourceRow("s50", "d51", "v", "/data/s", "fasta", 0, 0, 0)])
    assert contents(location)[0] == ids


DIES = """
import os, sys
import lance
from protea_ray.store.location import open_location
from tests.store.test_sources import record

where, number = sys.argv[2], int(sys.argv[3])
real, calls = lance.LanceDataset.commit, []

def dying(*args, **kwargs):
    calls.append(1)
    if len(calls) == number and where == "before":
        os._exit(9)
    done = real(*args, **kwargs)
    if len(calls) == number and where == "after":
        os._exit(9)
    return done

lance.LanceDataset.commit = staticmethod(dying)
record(open_location(sys.argv[1]), range(6), "a#d1", "d1")
"""


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("number", [2, 4, 5, 6])
def test_a_driver_that_dies_between_any_two_commits_is_repaired(tmp_path: Path, where: str, number: int) -> None:
    """Commits 1 to 3 create the tables; 4 to 6 are rejects, proteins and the sources row."""
    location = open_location(tmp_path / "s")
    command = [sys.executable, "-c", DIES, location.uri, where, str(number)]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 9
    assert record(location, range(6), "a#d1", "d1") is not (number == 6 and where == "after")
    assert contents(location) == ([f"P{n:05d}" for n in range(5)], 1, [("a#d1", 6)])
