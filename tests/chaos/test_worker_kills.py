"""Rows 1 and 2: encoder actors and whole nodes are killed under a run, which finishes as if nothing had been."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import lance
import pytest

from tests import stores
from tests.chaos import runs
from tests.chaos.rows import Ledger
from tests.chaos.runs import ROOT, Bench, Head

pytestmark = [pytest.mark.chaos]

ACTOR = "ray::MapWorker(MapBatches(EmbedUnits))"
FINE = ("--set", "run.unit_seconds=1", "--set", "run.window_proteins=2")  # 80 units, however fast the machine
KILLS, EVERY, UNITS = 5, 2.0, 60
SLOW = {  # 60 units must still be under way after five kills
    "module": "protea_ray.encoder.encoder", "attribute": "Encoder.embed", "do": "sleep", "seconds": 0.3,
}  # fmt: skip


@pytest.mark.row(1)
@pytest.mark.xdist_group("real")
def test_actors_die_every_two_seconds(bench: Bench, real_reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """The real encoder: a new actor takes seconds to load, and is killed while it loads as well."""
    store = tmp_path / "store"
    with ledger.row(1, "random actors of a run with the real encoder, one every 2 s") as row:
        process = runs.start(bench.arguments(store, *FINE), store, bench.environment(toy=False, faults=[SLOW]))
        runs.wait_for_rows(store, 1, process)
        row.times = kill_actors(process)
        runs.finish(process, store)
        row.expected = len(stores.vectors(real_reference))
        row.found = runs.assert_same(store, real_reference, atol=1e-5)
        row.redone = runs.redone(stores.space(store))
    units = lance.dataset(str(stores.space(store))).to_table(columns=["unit"])["unit"].unique()
    assert len(units) >= UNITS


def kill_actors(process: subprocess.Popen[bytes]) -> int:
    """SIGKILL one of the encoder actors, five times; the run must not be over before that."""
    chosen, killed = random.Random(4), 0
    while killed < KILLS:
        assert process.poll() is None, f"the run ended after {killed} kills"
        if pids := runs.workers_of(process, ACTOR):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chosen.choice(pids), signal.SIGKILL)
                killed += 1
        time.sleep(EVERY)
    return killed


NODES = """
import json, os, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from protea_ray.cli.main import app
from tests.chaos import runs

arguments, store = json.loads(sys.argv[1]), Path(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
ray._private.utils.set_sigterm_handler = lambda handler: None  # a thread adds the next one, and cannot set signals
ray.init(address=cluster.address, log_to_driver=False)

def lose():
    for rows, change in ((10, lambda: cluster.remove_node(nodes[0], allow_graceful=False)),
                         (30, lambda: nodes.append(cluster.add_node(num_cpus=2))),
                         (60, lambda: cluster.remove_node(nodes[1], allow_graceful=False))):
        while runs.committed(store) < rows:
            time.sleep(0.05)
        change()
        print("changed at", runs.committed(store), "rows", file=sys.stderr, flush=True)
    threading.Event().wait()  # processes that a thread has started die with it

threading.Thread(target=lose, daemon=True).start()
app(arguments, standalone_mode=False)
print("nodes left", sum(n["Alive"] for n in ray.nodes()), file=sys.stderr, flush=True)
os._exit(0)  # the run is over; Ray, still recovering objects of the lost nodes, may end its own process by a signal
"""


@pytest.mark.row(2)
def test_nodes_are_lost_and_added(bench: Bench, head: Head, reference: Path, tmp_path: Path, ledger: Ledger) -> None:
    """Three nodes; two are lost without a word, one comes. What was only in their memory is computed again.

    Two actors on six CPUs: a cluster that has fewer CPUs left than actors has none to read with, and waits.
    """
    store = tmp_path / "store"
    patient = {"RAY_health_check_timeout_ms": "60000"}  # a busy node is not a lost one; a lost one refuses at once
    environment = bench.environment(toy=True, CHAOS_SECONDS_PER_RESIDUE="0.0006", **patient)
    with ledger.row(2, "2 of 3 nodes removed ungracefully, 1 added") as row:
        arguments = json.dumps(bench.arguments(store, *FINE, "--actors", 2))
        command = [sys.executable, "-c", NODES, arguments, str(store)]
        with store.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        try:
            runs.finish(process, store)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert runs.log_of(store).count("changed at") == 3
        assert "nodes left 2" in runs.log_of(store)
        row.times, row.expected = 3, len(stores.vectors(reference))
        row.found = runs.assert_same(store, reference)
        row.redone = runs.redone(stores.space(store))
