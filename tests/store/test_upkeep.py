"""Upkeep makes a store smaller and never different."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from protea_ray.errors import LeaseHeldError, StoreError, UnknownSpaceError
from protea_ray.query.reader import open_store
from protea_ray.store import aliases
from protea_ray.store import upkeep as tending
from protea_ray.store.commit import write_fragments
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location, open_location
from protea_ray.store.spaces import ensure_space, list_spaces
from protea_ray.store.tables import open_table
from protea_ray.store.upkeep import drop_space, upkeep
from protea_ray.store.verify import verify
from tests.store import build

SPACE = "esm2-00000001"
NOW = timedelta(0)


def versions(location: Location) -> list[int]:
    return [v["version"] for v in open_table(location.table(SPACE)).versions()]


def test_fragments_merge_and_orphans_go(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(40), with_residues=True)
    of = build.schema(build.WIDTH)
    write_fragments(location.table(SPACE), build.rows([50], "lost", of, True), of)
    before = open_store(location.uri).to_arrow()
    planned = {t.table: t for t in upkeep(location, keep=NOW, dry_run=True)}[SPACE]
    assert verify(location).findings[0].kind == "orphans"
    done = {t.table: t for t in upkeep(location, keep=NOW)}[SPACE]
    assert (done.fragments_before, done.fragments_after) == (8, 1)
    assert (planned.fragments_before, planned.fragments_after) == (8, 1)
    assert done.files_removed >= 9  # eight merged, one lost
    assert done.bytes_removed > 0
    assert verify(location).findings == ()
    after = open_store(location.uri).to_arrow()
    assert after.replace_schema_metadata().equals(before.replace_schema_metadata())
    crop = open_store(location.uri).residues("P00033")[2:6]
    assert crop.tobytes() == build.residues(33)[2:6].tobytes()
    again = {t.table: t for t in upkeep(location, keep=NOW)}[SPACE]
    assert (again.fragments_after, again.files_removed) == (1, 0)


@pytest.mark.parametrize(
    ("fewest", "most", "target_bytes", "rows"),
    [(1, 1000, 1, 5), (10, 1000, 1, 10), (1, 20, 1 << 40, 20), (1, 1000, 1 << 40, 40)],
)
def test_fragments_hold_rows_between_two_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fewest: int, most: int, target_bytes: int, rows: int
) -> None:
    """Of 40 rows in eight fragments of 5: `rows` in each, as near to `target_bytes` as the limits allow."""
    monkeypatch.setattr(tending, "_FEWEST_ROWS", fewest)
    monkeypatch.setattr(tending, "_MOST_ROWS", most)
    monkeypatch.setattr(tending, "_FRAGMENT_BYTES", target_bytes)
    location = build.store(tmp_path / "s", range(40))
    upkeep(location)
    counts = [fragment.count_rows() for fragment in open_table(location.table(SPACE)).get_fragments()]
    assert counts == [rows] * (40 // rows)


def test_pinned_tagged_and_young_versions_stay(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(40))
    open_table(location.table(SPACE)).tags.create("training-7", 3)
    aliases.move(location, "current", SPACE, version=5, run="r", writer=build.writer())
    before = versions(location)
    upkeep(location)
    assert set(before) <= set(versions(location))  # younger than a day
    upkeep(location, now=lambda: datetime.now() + timedelta(days=2))
    kept = versions(location)
    assert kept[:2] == [3, 5]
    assert len(kept) == 3
    store = open_store(location.uri)
    assert store.to_arrow().num_rows == 20
    assert store.to_arrow(space=SPACE, version=3).num_rows == 10
    assert store.to_arrow(space=SPACE).num_rows == 40


def test_a_reader_keeps_its_version(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(40))
    store = open_store(location.uri)
    pin = store.pin()
    upkeep(location)
    assert store.to_arrow(space=pin).num_rows == 40


def test_upkeep_waits_for_the_writer(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    with Lease.acquire(location):
        for work in (lambda: upkeep(location), lambda: drop_space(location, SPACE)):
            with pytest.raises(LeaseHeldError):
                work()
    assert upkeep(location, dry_run=True)


def test_a_space_is_dropped_whole(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    ensure_space(location, build.info("second"), build.schema())
    aliases.move(location, "current", SPACE, run="r", writer=build.writer())
    with pytest.raises(StoreError, match="current points to; move the alias first"):
        drop_space(location, SPACE)
    aliases.move(location, "current", "second", run="r", writer=build.writer())
    rows, size = drop_space(location, SPACE, dry_run=True)
    assert (rows, size > 0) == (10, True)
    assert drop_space(location, SPACE)[0] == 10
    assert not Path(location.table(SPACE)).exists()
    assert [s.name for s in list_spaces(location)] == ["second"]
    for name in (SPACE, "proteins"):
        with pytest.raises(UnknownSpaceError, match="spaces: second"):
            drop_space(location, name)


def deleted(location: Location) -> None:
    for number in (6, 26):
        open_table(location.table(SPACE)).delete(f"key = X'{build.key(number).hex()}'")


def pinned(location: Location) -> None:
    aliases.move(location, "current", SPACE, version=5, run="r", writer=build.writer())


def grown(location: Location) -> None:
    upkeep(location, keep=NOW)
    build.fill(location, SPACE, range(50, 60), "x", build.schema(build.WIDTH), True)


def interrupted(location: Location) -> None:
    """After a holder that did not release its lease in order, the next one makes a version of every table."""
    Lease.acquire(location).release(in_order=False)


def indexed(location: Location) -> None:
    build.fill(location, SPACE, range(50, 350), "x", build.schema(build.WIDTH), True)
    open_table(location.table(SPACE)).create_index("mean", "IVF_PQ", num_partitions=1, num_sub_vectors=1)


@pytest.mark.parametrize("history", [deleted, pinned, grown, interrupted, indexed])
def test_a_dry_run_foretells_what_is_done(tmp_path: Path, history: Callable[[Location], None]) -> None:
    """Versions, files and fragments to the number; bytes within 2 %: the versions in between are guessed."""
    location = build.store(tmp_path / "s", range(40), with_residues=True)
    history(location)
    assert sum(t.bytes_removed for t in upkeep(location, dry_run=True)) == 0  # all younger than a day
    planned = upkeep(location, keep=NOW, dry_run=True)
    done = upkeep(location, keep=NOW)
    assert [replace(t, bytes_removed=0) for t in planned] == [replace(t, bytes_removed=0) for t in done]
    for plan, real in zip(planned, done, strict=True):
        assert plan.bytes_removed == pytest.approx(real.bytes_removed, rel=0.02)
    assert max(t.bytes_removed for t in done) > 50_000
    again = upkeep(location, keep=NOW, dry_run=True)
    assert all(t.bytes_removed == 0 for t in again)


DIES = """
import os, sys, lance
from protea_ray.store.location import open_location
from protea_ray.store.upkeep import drop_space, upkeep
step = sys.argv[2]
if step == "drop":
    lance.LanceDataset.drop = staticmethod(lambda uri: os._exit(9))
    drop_space(open_location(sys.argv[1]), "esm2-00000001")
else:
    lance.LanceDataset.cleanup_old_versions = lambda *a, **k: os._exit(9)
    upkeep(open_location(sys.argv[1]))
"""


def test_upkeep_that_dies_is_repeated(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", DIES, location.uri, "clean"], check=False, cwd=root).returncode == 9
    assert open_store(location.uri).to_arrow().num_rows == 10
    upkeep(location, keep=NOW)
    assert verify(location).findings == ()
    assert subprocess.run([sys.executable, "-c", DIES, location.uri, "drop"], check=False, cwd=root).returncode == 9
    assert list_spaces(location) == []
    with pytest.raises(StoreError, match="not a vector space"):
        ensure_space(location, build.info(), build.schema())
    drop_space(location, SPACE)
    assert not open_location(location.uri).exists(SPACE)
    ensure_space(location, build.info(), build.schema())
