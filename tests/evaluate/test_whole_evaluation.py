"""The real thing: killed at any moment, and over two nodes. Each has a process or a cluster of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from protea_ray.store.evaluations import KEY, read_cells, read_evaluations
from protea_ray.store.location import Location
from tests import commands
from tests.store import build

pytestmark = [pytest.mark.slow]

PROTEINS, SEEDS = 80, 5
MANY = 40  # seeds of an evaluation that is killed in the middle
EVERY_CELL = """
from protea_ray.cli.main import run
from protea_ray.evaluate import schedule

schedule.COMMIT_SECONDS = 0.0  # a quiet machine computes all cells in the ten seconds until the first commit
run()
"""


def labelled(folder: Path) -> Path:
    """A table of two classes, given split: 3 of 4 proteins train."""
    path = folder / "labels.csv"
    rows = [f"P{n:05d},{'ab'[n % 2]},{'test' if n % 4 == 0 or n % 4 == 3 else 'train'}" for n in range(PROTEINS)]
    path.write_text("\n".join(["id,target,split", *rows]) + "\n")
    return path


def arguments(location: Location, labels: Path, seeds: int = SEEDS) -> list[str]:
    return ["evaluate", location.uri, "--tasks", f"{labels}:classification", "--controls", "random,composition",
            "--seeds", str(seeds), "--json"]  # fmt: skip


def content(location: Location) -> list[dict[str, Any]]:
    rows = read_evaluations(location).drop_columns(["finished", "run"]).to_pylist()
    return sorted(rows, key=lambda row: tuple(row[name] for name in KEY))


def test_killed_and_repeated_it_computes_the_rest_and_doubles_nothing(tmp_path: Path) -> None:
    location = build.store(tmp_path / "store", range(PROTEINS), per_unit=40)
    given = arguments(location, labelled(tmp_path), MANY)
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-c", EVERY_CELL, *given]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    while not read_cells(location):
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.05)
    commands.kill_group(process)
    kept = len(read_cells(location))
    assert 0 < kept < 3 * MANY, "it was killed in the middle"
    done = commands.run_json(*given[:-1])
    assert (done["computed"], done["found"]) == (3 * MANY - kept, kept)
    counted = Counter(tuple(row[name] for name in KEY) for row in content(location))
    assert set(counted.values()) == {1}
    assert len(read_cells(location)) == 3 * MANY


NODES = """
import json, sys
from ray.cluster_utils import Cluster
import ray
from protea_ray.cli.main import app
from tests.commands import call

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
cluster.add_node(num_cpus=2)
ray.init(address=cluster.address, log_to_driver=False)
done = call(*json.loads(sys.argv[1]))
print(done.stderr, file=sys.stderr)
ray.shutdown()
cluster.shutdown()
sys.exit(done.returncode)
"""


def test_two_nodes_give_the_same_rows_as_one(tmp_path: Path) -> None:
    labels = labelled(tmp_path)
    one, two = (build.store(tmp_path / name, range(PROTEINS), per_unit=40) for name in ("one", "two"))
    assert commands.run_json(*arguments(one, labels)[:-1])["computed"] == 3 * SEEDS
    command = [sys.executable, "-c", NODES, json.dumps(arguments(two, labels))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert len(read_cells(two)) == 3 * SEEDS
    assert content(one) == content(two)
