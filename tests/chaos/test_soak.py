"""Row 16: a long run with three interruptions.

CHAOS_SOAK is the number of proteins: 200,000 is what the row asks for, the default what fits beside
the other rows, and what was run is printed.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lance
import numpy as np
import pytest

from protea_ray.sequences.records import key_of
from protea_ray.sequences.synth import synthesise, write_fasta
from tests import stores
from tests.chaos import runs, toy
from tests.chaos.rows import Ledger
from tests.chaos.runs import Bench, Head
from tests.chaos.test_worker_kills import ACTOR

WHOLE = 200_000
PROTEINS = int(os.environ.get("CHAOS_SOAK", WHOLE // 10))
SEED = 16
UNIT = 250  # proteins: a window that is embedded in less than a second is one unit
GROUP = 8  # units of one commit
SIZES = ("run.unit_seconds=1", f"run.window_proteins={UNIT}", f"run.commit_units={GROUP}", "run.commit_seconds=600")
OPTIONS = tuple(part for size in SIZES for part in ("--set", size))
RUNS = 3
EACH = 50  # every so many-th vector is computed anew
GROWTH = 1.1  # of the driver's memory, from the first half of a run to the second
PAUSE = 0.02  # seconds between two looks at the driver's memory


@pytest.mark.chaos
@pytest.mark.row(16)
@pytest.mark.timeout(1800)
def test_a_long_run_with_three_interruptions(bench: Bench, tmp_path: Path, ledger: Ledger) -> None:
    """SIGKILL of the driver, of an actor, SIGTERM: then the same command ends exact, and the driver did not grow."""
    fasta, store = tmp_path / "soak.fasta", tmp_path / "store"
    write_fasta(fasta, PROTEINS, SEED)
    # a cache of its own: the cost that slower toys left in the suite's would make more units
    quick = Head(bench, CHAOS_SECONDS_PER_RESIDUE="0", PROTEA_RAY_CACHE=str(tmp_path / "cache"))
    with ledger.row(16, f"{PROTEINS:,} proteins: SIGKILL of the driver, of an actor, SIGTERM") as row, quick as head:
        killed = driver(head, fasta, store)
        runs.wait_for_rows(store, PROTEINS // 5, killed, seconds=runs.PATIENCE)
        killed.kill()
        runs.finish(killed, store, -signal.SIGKILL)

        stopped = driver(head, fasta, store)
        runs.wait_for_rows(store, PROTEINS * 2 // 5, stopped, seconds=runs.PATIENCE)
        os.kill(runs.workers_of(head.process, ACTOR)[0], signal.SIGKILL)
        runs.wait_for_rows(store, PROTEINS * 3 // 5, stopped, seconds=runs.PATIENCE)
        stopped.terminate()
        runs.finish(stopped, store, 130)

        last = driver(head, fasta, store)
        with memory_of(last, store) as samples:
            runs.finish(last, store)
        row.times, row.expected, row.found = 3, PROTEINS, assert_exact(store)
        row.redone = runs.redone(stores.space(store))
        assert_bounded(stores.space(store))
        row.notes.append(grown(samples))
        if PROTEINS < WHOLE:
            row.notes.append(f"{PROTEINS:,} of the row's {WHOLE:,} proteins; CHAOS_SOAK={WHOLE} runs all")


def driver(head: Head, fasta: Path, store: Path) -> subprocess.Popen[bytes]:
    """The same command every time."""
    return head.driver(store, *OPTIONS, inputs=[fasta])


@contextmanager
def memory_of(process: subprocess.Popen[bytes], store: Path) -> Iterator[list[int]]:
    """Bytes of a driver's resident memory, from its first commit until it ends."""
    samples: list[int] = []
    before, over = runs.committed(store), threading.Event()

    def watch() -> None:
        while runs.committed(store) <= before and not over.wait(PAUSE):
            pass
        while not over.wait(PAUSE):
            samples.append(resident(process.pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def grown(samples: list[int]) -> str:
    """Compare the second half of a run with the first."""
    alive = [s for s in samples if s]
    assert len(alive) >= 20, "the last run was too short to say anything about its memory"
    first, second = (statistics.median(half) for half in (alive[: len(alive) // 2], alive[len(alive) // 2 :]))
    assert second <= first * GROWTH, f"{first / 1e6:.0f} MB, then {second / 1e6:.0f} MB"
    return (
        f"driver at {first / 1e6:.0f} MB in the first half, {second / 1e6:.0f} MB in the second ({len(alive)} samples)"
    )


def assert_exact(store: Path) -> int:
    """Every protein once, and a sample of vectors bit by bit; the proteins are made again, not read."""
    letters = {key_of(p.sequence): p.sequence for p in synthesise(PROTEINS, SEED)}
    assert stores.count(store / "proteins.lance") == PROTEINS
    found = stores.vectors(store)
    assert found.keys() == letters.keys()
    for key in list(letters)[::EACH]:
        np.testing.assert_array_equal(found[key], toy.vector(letters[key], 32))
    return len(found) + PROTEINS - len(letters)


def assert_bounded(table: Path) -> None:
    """One fragment a unit, one version a group; each run may add a smaller last group and a fence."""
    opened = lance.dataset(str(table))
    units = len(opened.to_table(columns=["unit"])["unit"].unique())
    assert len(opened.get_fragments()) <= units
    assert units <= PROTEINS / UNIT * 1.2 + RUNS
    assert opened.version <= units // GROUP + RUNS * 3 + 1
