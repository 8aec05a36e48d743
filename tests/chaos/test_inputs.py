"""Row 12: inputs of every kind, through the command line into a store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lance
import pytest

from protea_ray.query.reader import open_store
from tests import stores
from tests.chaos import runs
from tests.chaos.rows import Ledger
from tests.chaos.runs import Bench, Head
from tests.chaos.zoo import HOSTILE, release
from tests.shared_data import shared

pytestmark = [pytest.mark.chaos, pytest.mark.row(12)]

UNITS = ("--set", "run.unit_seconds=1", "--set", "run.window_proteins=4096")
MOST = 1 << 30  # bytes of any process: the largest record alone is 2 MB, the file of single residues 1 MB


@pytest.fixture(scope="module")
def quick(bench: Bench) -> Iterator[Head]:
    """A head whose toy encoder does not sleep: 2,000,000 residues would take 80 s."""
    with Head(bench, CHAOS_SECONDS_PER_RESIDUE="0") as running:
        yield running


def test_a_zoo_of_files(quick: Head, bench: Bench, tmp_path: Path, ledger: Ledger) -> None:
    """Each record is stored or rejected with its reason; the counts add up, over all and in each file."""
    files, animals = release(tmp_path / "zoo", refused=False)
    store = tmp_path / "store"
    with ledger.row(12, f"{len(files)} files of the zoo") as row:
        done = quick.run(*bench.arguments(store, *UNITS, inputs=files))
        assert done["code"] == 0, done
        summary = json.loads(done["out"].splitlines()[-1])
        row.times, row.expected = len(files), sum(a.records for a in animals)
        row.found = sum(summary[n] for n in ("stored", "duplicate", "rejected", "already_present"))
        assert summary["in"] == row.expected
        row.notes.append(f"largest process {peak(quick) >> 20} MiB")
    assert summary["rejected"] == sum(len(a.reasons) for a in animals)
    kept, refused = records(store, "proteins"), records(store, "rejects")
    for animal in animals:
        path = str(tmp_path / "zoo" / animal.name)
        assert kept[path] == Counter({None: animal.stored}) if animal.stored else not kept[path], animal.name
        assert refused[path] == Counter(animal.reasons), animal.name
    assert len(stores.vectors(store)) == summary["stored"] == len(stores.sequences(store))
    assert peak(quick) < MOST


def records(store: Path, table: str) -> dict[str, Counter[Any]]:
    """Rows of each source, by reason."""
    found: dict[str, Counter[Any]] = {}
    for row in lance.dataset(str(store / f"{table}.lance")).to_table().to_pylist():
        found.setdefault(row["source"].split("#")[0], Counter())[row.get("reason")] += 1
    return _Default(found)


class _Default(dict):
    def __missing__(self, key: str) -> Counter[Any]:
        return Counter()


def peak(head: Head) -> int:
    """Bytes: the most that the driver or a worker alive now ever held."""
    pids = [head.pid, *runs.workers_of(head.process, "ray::")]
    marks = [Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0] for pid in pids]
    return max(int(kib) << 10 for kib in marks)


def test_files_that_hold_no_proteins_are_named(quick: Head, bench: Bench, tmp_path: Path, ledger: Ledger) -> None:
    """All of them in one message, and nothing of them in the store."""
    files, animals = release(tmp_path / "zoo", refused=True)
    with ledger.row(12, "files refused whole") as row:
        done = quick.run(*bench.arguments(tmp_path / "store", inputs=[bench.proteins, *files]))
        row.times = len(files)
    assert done["code"] == 1
    for animal in animals:
        assert animal.name in done["error"]


def test_ids_are_only_ever_ids(quick: Head, bench: Bench, tmp_path: Path) -> None:
    """No path, no HTML, no filter: an id finds the protein that has it and nothing else."""
    files, _ = release(tmp_path / "zoo", refused=False)
    hostile = next(f for f in files if f.name == "hostile_ids.fasta")
    assert quick.run(*bench.arguments(tmp_path / "store", inputs=[hostile]))["code"] == 0
    opened = open_store(tmp_path / "store")
    for id in HOSTILE:
        assert opened.get([id])["id"].to_pylist() == [id]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store", "zoo"]


def test_the_files_that_people_sent(quick: Head, bench: Bench, tmp_path: Path, ledger: Ledger) -> None:
    """Every kind in the developer data: the counts add up, whatever the file."""
    folder = shared("dirty_dev")
    with ledger.row(12, "files of the developer data") as row:
        for path in sorted(p for p in folder.iterdir() if p.is_file()):
            done = quick.run(*bench.arguments(tmp_path / "store", *UNITS, inputs=[path]))
            row.times += 1
            if done["code"]:
                assert path.name in done["error"]
                continue
            summary = json.loads(done["out"].splitlines()[-1])
            row.expected += path.read_bytes().count(b"\n>") + path.read_bytes().startswith(b">")
            row.found += sum(summary[n] for n in ("stored", "duplicate", "rejected", "already_present"))
    assert row.found == row.expected > 0
