"""Row 13: a reader that always asks for the latest version, beside a writer and a compaction."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from protea_ray.query.reader import open_store
from protea_ray.store import aliases
from protea_ray.store.spaces import ensure_space
from protea_ray.store.tables import open_table
from tests.chaos.rows import Ledger
from tests.chaos.runs import ROOT
from tests.store import build

COMMITS, PER_UNIT = 100, 5
AHEAD = 5  # commits that the writer makes before it waits for a read, so that a busy machine sees as many versions

WRITER = """
import sys, time
from pathlib import Path
from protea_ray.store.location import open_location
from tests.store import build
from tests.chaos.test_readers import AHEAD, COMMITS, PER_UNIT
location, of, name = open_location(sys.argv[1]), build.schema(), build.info().name
reads, end = Path(sys.argv[2]), time.monotonic() + 300
for unit in range(1, COMMITS):
    while reads.stat().st_size < unit // AHEAD:
        assert time.monotonic() < end, "nobody reads"
        time.sleep(0.002)
    build.fill(location, name, range(unit * PER_UNIT, (unit + 1) * PER_UNIT), f"r1.{unit:03}", of)
    if unit == COMMITS // 2:
        from protea_ray.store.tables import open_table
        open_table(location.table(name)).optimize.compact_files()
"""


@pytest.mark.chaos
@pytest.mark.chaos_short
@pytest.mark.row(13)
def test_every_read_of_the_latest_is_a_whole_version(tmp_path: Path, ledger: Ledger) -> None:
    """Units appear whole and in the order of their commits; each read has every row of its version, with its letters
    and its vector, and never fewer than the read before."""
    location, of = build.open_location(tmp_path / "s"), build.schema()
    build.ingest(location, build.proteins(range(COMMITS * PER_UNIT)))
    ensure_space(location, build.info(), of)
    build.fill(location, build.info().name, range(PER_UNIT), "r1.000", of)
    aliases.move(location, aliases.CURRENT, build.info().name, run="r1", writer=build.writer())
    expected = {build.key(n): build.vector(n) for n in range(COMMITS * PER_UNIT)}
    sizes: list[int] = []
    with ledger.row(13, f"a reader beside {COMMITS - 1} commits and a compaction") as row:
        reads = tmp_path / "reads"
        reads.touch()
        writer = subprocess.Popen([sys.executable, "-c", WRITER, location.uri, str(reads)], cwd=ROOT)
        while writer.poll() is None:
            sizes.append(read_whole(tmp_path / "s", expected))
            with reads.open("a") as counted:
                counted.write(".")
            assert sizes == sorted(sizes)
        assert writer.returncode == 0
        sizes.append(read_whole(tmp_path / "s", expected))
        row.times, row.expected, row.found = COMMITS, COMMITS * PER_UNIT, sizes[-1]
        row.notes.append(f"{len(sizes)} reads of {len(set(sizes))} versions")
    assert sizes[-1] == COMMITS * PER_UNIT
    assert len(set(sizes)) > 10  # it did read in between
    assert len(open_table(location.table(build.info().name)).versions()) >= COMMITS + 1


def read_whole(store: Path, expected: dict[bytes, object]) -> int:
    """One read through the package: rows of whole units, the first of them, each key once, each vector its own."""
    table = open_store(store).to_arrow(columns=["key", "sequence", "mean"])
    keys = table["key"].to_pylist()
    assert len(keys) == len(set(keys))
    assert len(keys) % PER_UNIT == 0
    assert set(keys) == {build.key(n) for n in range(len(keys))}
    for key, vector in zip(keys, table["mean"].to_pylist(), strict=True):
        assert vector == pytest.approx(expected[key])
    return len(keys)
