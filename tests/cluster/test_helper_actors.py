"""Which actors Ray Data has beside those of a pool: none on a cluster of ours on one machine, its own on any other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import ray.data._internal.cluster_autoscaler.rate_based_cluster_autoscaler as autoscaler
from ray.data._internal.stats import _StatsManager as Statistics

from protea_ray.cluster.helper_actors import with_helper_actors, without_helper_actors

RUN = """
import logging, ray
from ray.data import ActorPoolStrategy
from protea_ray.cluster.connect import connect
from protea_ray.config.run import RunOptions
class Doubles:
    def __call__(self, batch):
        return {"id": 2 * batch["id"]}
def figures():
    rows = ray.data.range(40, override_num_blocks=8).map_batches(Doubles, compute=ActorPoolStrategy(size=2))
    print("sum", sum(row["id"] for row in rows.iter_rows()), end=" ")
    classes = sorted({actor["ActorClassName"] for actor in ray._private.state.actors().values()})
    print(*[name for name in classes if not name.startswith("MapWorker")])
connect(RunOptions())
figures()
figures()
ray.shutdown()
ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
connect(RunOptions())
figures()
"""


@pytest.mark.slow
def test_a_cluster_of_ours_has_the_actors_of_the_pool_alone() -> None:
    """Two executions on one cluster of ours, then one on a cluster that somebody else started in the same process."""
    done = subprocess.run(
        [sys.executable, "-c", RUN], env={**os.environ, "RAY_ADDRESS": "local"}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = f"sum {2 * sum(range(40))}"
    found = [line.split() for line in done.stdout.splitlines() if line.startswith("sum")]
    assert found[0] == ours.split() and found[1] == ours.split()
    assert found[2][:2] == ours.split()
    assert set(found[2][2:]) == {"ActorLocationTracker", "_AutoscalingCoordinatorActor", "_StatsActor"}


@pytest.fixture
def restored() -> Iterator[None]:
    yield
    with_helper_actors()


def test_rays_own_come_back(restored: None) -> None:
    own = autoscaler.DefaultAutoscalingCoordinator, Statistics.gen_dataset_id_from_stats_actor
    without_helper_actors()
    assert autoscaler.DefaultAutoscalingCoordinator is not own[0]
    names = {Statistics.gen_dataset_id_from_stats_actor() for _ in range(3)}
    assert len(names) == 3 and all(len(name) == 32 for name in names)
    with_helper_actors()
    assert (autoscaler.DefaultAutoscalingCoordinator, Statistics.gen_dataset_id_from_stats_actor) == own
