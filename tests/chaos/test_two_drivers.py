"""Row 4: two drivers at one store."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lance
import pytest

from protea_ray.sequences.synth import write_fasta
from tests import commands, stores
from tests.chaos import runs
from tests.chaos.rows import Ledger
from tests.chaos.runs import Bench, Head

pytestmark = [pytest.mark.chaos, pytest.mark.row(4)]

RACES, EACH = 20, 3
HELD = re.compile(r"another driver is writing .*: process (\d+) on (\S+), since .* UTC, last heartbeat (\d+) s ago")


@pytest.fixture(scope="module")
def racers(bench: Bench, head: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Head, Head]]:
    """Two drivers that stay: each enters the fight for the lease only when the other is there too."""
    fault = {
        "module": "protea_ray.store.lease", "attribute": "_take", "do": "barrier", "of": 2,
        "folder": str(tmp_path_factory.mktemp("barrier")),
    }  # fmt: skip
    with ExitStack() as stack:
        joined = {"faults": [fault], "RAY_ADDRESS": head.address}
        yield stack.enter_context(Head(bench, **joined)), stack.enter_context(Head(bench, **joined))


def test_two_drivers_at_a_barrier(racers: tuple[Head, Head], bench: Bench, tmp_path: Path, ledger: Ledger) -> None:
    """Twenty times with new proteins: one embeds them, the other is told who holds the store, and since when."""
    store = tmp_path / "store"
    with ledger.row(4, f"{RACES} races for the lease") as row, ThreadPoolExecutor(2) as threads:
        for number in range(RACES):
            fasta = tmp_path / f"{number}.fasta"
            write_fasta(fasta, EACH, seed=1000 + number)
            command = bench.arguments(store, inputs=[fasta])
            outcomes = [future.result() for future in [threads.submit(racer.run, *command) for racer in racers]]
            one_ran(outcomes, [racer.pid for racer in racers])
            row.times += 1
        row.expected, row.found = RACES * EACH, len(stores.vectors(store))
    assert row.found == row.expected
    assert lance.dataset(str(store / "runs.lance")).count_rows() == RACES


def one_ran(outcomes: list[dict[str, Any]], pids: list[int]) -> None:
    """Exactly one stored the proteins; the other names it."""
    assert sorted(o["code"] for o in outcomes) == [0, 1], outcomes
    winner = next(i for i, o in enumerate(outcomes) if o["code"] == 0)
    assert json.loads(outcomes[winner]["out"].splitlines()[-1])["stored"] == EACH
    said = HELD.search(outcomes[1 - winner]["error"])
    assert said, outcomes[1 - winner]
    assert (int(said[1]), said[2]) == (pids[winner], socket.gethostname())


def test_the_holder_is_killed(head: Head, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """Its process is gone from this machine, so nobody waits for its heartbeat."""
    store = tmp_path / "store"
    with ledger.row(4, "the holder killed") as row:
        process = head.driver(store, "--set", "run.heartbeat_seconds=3600")
        runs.wait_for_rows(store, 1, process)
        commands.kill_group(process)
        head.embed(store)
        row.times, row.expected = 1, len(stores.vectors(reference))
        row.found = runs.assert_same(store, reference)
        row.redone = runs.redone(stores.space(store))


def test_the_holder_is_suspended_and_wakes(head: Head, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """Alive but silent: others wait for its heartbeat, take over, and what it does when it wakes is refused."""
    store, seconds = tmp_path / "store", 4
    beat = ("--set", f"run.heartbeat_seconds={seconds}")
    with ledger.row(4, "the holder suspended, and awake again afterwards") as row:
        # on a cluster of its own, for a suspended driver gives no CPU back
        process = runs.start(head.bench.arguments(store, *beat), store, head.bench.environment(toy=True))
        runs.wait_for_rows(store, 1, process)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            early = head.run(*head.bench.arguments(store, *beat))
            assert early["code"] == 1
            assert HELD.search(early["error"])
            time.sleep(seconds + 0.5)
            head.embed(store, *beat)
        except BaseException:
            commands.kill_group(process)
            raise
        os.kill(process.pid, signal.SIGCONT)
        runs.finish(process, store, 1)
        row.times, row.expected = 1, len(stores.vectors(reference))
        row.found = runs.assert_same(store, reference)
        row.redone = runs.redone(stores.space(store))
    assert re.search(r"error: .*(taken over by process|could not renew its lease)", runs.log_of(store))
