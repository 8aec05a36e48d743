"""A pool is planned from what is free, and leaves room to read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from protea_ray.config.run import RunOptions
from protea_ray.errors import ClusterError, ConfigError
from protea_ray.pipeline import pool
from protea_ray.pipeline.pool import Pool, at_most, device_of, pool_for, require_room
from protea_ray.sequences.parts import Source
from protea_ray.sequences.synth import write_fasta


def cluster(
    monkeypatch: pytest.MonkeyPatch, total: list[dict[str, float]], free: list[dict[str, float]] | None = None
) -> None:
    """Nodes of a cluster: what they have, and what is free of it (all, unless it is said)."""
    kinds = {kind for node in total for kind in node}
    monkeypatch.setattr(pool, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(
        pool.ray, "cluster_resources", lambda: {kind: sum(n.get(kind, 0) for n in total) for kind in kinds}
    )
    monkeypatch.setattr(pool.ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in total])
    monkeypatch.setattr(pool, "available_resources_per_node", lambda: dict(enumerate(total if free is None else free)))
    autoscaler(monkeypatch, b"")


def autoscaler(monkeypatch: pytest.MonkeyPatch, status: bytes) -> None:
    """What the cluster's autoscaler reports; nothing where there is none."""
    monkeypatch.setattr(pool.internal_kv, "_internal_kv_get", {b"__autoscaling_status": status}.get)


def test_cpu_actors_leave_one_cpu_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, [{"CPU": 9}])

    assert pool_for(RunOptions(), "cpu", 100) == Pool("cpu", 8, 8, 1.0, 0.0)
    assert pool_for(RunOptions(actors=3, min_actors=1), "cpu", 100) == Pool("cpu", 3, 1, 1.0, 0.0)
    assert pool_for(RunOptions(), "cpu", 2).actors == 2


def test_gpu_actors_take_one_gpu_and_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, [{"CPU": 16, "GPU": 4}])

    assert device_of(RunOptions()) == "cuda"
    assert pool_for(RunOptions(), "cuda", 100) == Pool("cuda", 4, 4, 0.0, 1.0)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, [{"CPU": 2}])

    with pytest.raises(ConfigError, match="no GPU"):
        device_of(RunOptions(device="cuda"))


def test_gpus_that_an_autoscaler_may_bring_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, [{"CPU": 2}])
    autoscaler(monkeypatch, b'{"autoscaler_report": {}}')

    assert device_of(RunOptions(device="cuda")) == "cuda"
    assert device_of(RunOptions()) == "cpu"  # nobody knows whether GPUs would come
    assert pool_for(RunOptions(actors=8), "cuda", 100) == Pool("cuda", 8, 8, 0.0, 1.0)
    assert pool_for(RunOptions(actors=8, min_actors=2), "cuda", 5) == Pool("cuda", 5, 2, 0.0, 1.0)
    assert pool_for(RunOptions(), "cuda", 100).actors == 1  # without a number, what is there


@pytest.mark.parametrize(
    ("free", "actors", "cpus"),
    [
        ([8.0], 7, 1.0),
        ([3.0], 2, 1.0),
        ([2.5], 1, 1.0),
        ([1.0], 1, 0.0),  # kept for reading
        ([0.0], 1, 0.0),
        ([1.5, 1.5], 1, 1.0),
        ([0.5, 0.5, 0.5, 0.5], 1, 0.0),  # two CPUs, and no node with one
        ([4.0, 0.0, 1.0], 4, 1.0),
    ],
)
def test_cpus_that_others_hold_are_not_counted(
    free: list[float], actors: int, cpus: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, [{"CPU": 8}] * len(free), [{"CPU": cpu} for cpu in free])
    planned = pool_for(RunOptions(), "cpu", 1000)

    assert (planned.actors, planned.num_cpus) == (actors, cpus)


def test_gpus_that_others_hold_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, [{"CPU": 8, "GPU": 4}] * 2, [{"CPU": 8, "GPU": 1}, {"CPU": 8, "GPU": 0.5}])

    planned = pool_for(RunOptions(), "cuda", 1000)
    assert (planned.actors, planned.num_gpus) == (1, 1.0)
    assert planned.shortage == "1.5 of the cluster's 8 GPUs are free: 1 encoder actor(s), not 8"


def test_more_actors_than_fit_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, [{"CPU": 3}])

    assert pool_for(RunOptions(actors=5), "cpu", 9).shortage == (
        "3 of the cluster's 3 CPUs are free: 2 encoder actor(s), not 5"
    )
    assert pool_for(RunOptions(actors=5), "cpu", 2).shortage is None


def test_a_smaller_pool_for_fewer_units() -> None:
    assert at_most(Pool("cpu", 8, 4, 1.0, 0.0), 3) == Pool("cpu", 3, 3, 1.0, 0.0)
    assert at_most(Pool("cpu", 8, 4, 1.0, 0.0), 30).actors == 8


def caller(monkeypatch: pytest.MonkeyPatch, own: float, status: bytes = b"") -> None:
    """This process runs a task that holds so many CPUs, in a cluster whose autoscaler reports this."""
    worker = SimpleNamespace(mode=pool.ray.WORKER_MODE if own else pool.ray.SCRIPT_MODE)
    context = SimpleNamespace(worker=worker, get_assigned_resources=lambda: {"CPU": own})
    monkeypatch.setattr(pool.ray, "get_runtime_context", lambda: context)
    autoscaler(monkeypatch, status)


@pytest.mark.parametrize(("nodes", "own"), [([0.0], 0.0), ([0.5, 0.5], 0.0), ([1.0], 1.0), ([2.0], 1.5)])
def test_tasks_that_can_never_be_placed_are_refused(
    nodes: list[float], own: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(monkeypatch, [{"CPU": cpus} for cpus in nodes])
    caller(monkeypatch, own)
    with pytest.raises(ClusterError, match=rf"has {sum(nodes):g} CPU.*num_cpus=2"):
        require_room()

    caller(monkeypatch, own, b'{"autoscaler_report": {}}')
    require_room()  # nodes may come


def test_one_cpu_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for nodes, own in (([1.0], 0.0), ([2.0], 1.0), ([0.0, 4.0], 0.0)):
        cluster(monkeypatch, [{"CPU": cpus} for cpus in nodes])
        caller(monkeypatch, own)
        require_room()


ONE_CPU = """
import sys
import ray
from protea_ray.cluster import waiting
from protea_ray.config.run import run_config
from protea_ray.pipeline.embed import embed
from protea_ray.cluster.progress import LineReporter
from tests.toy import ToySpec
waiting.SILENT_SECONDS = 20.0  # says what waits, should it hang
fasta, model, store, cpus, held = sys.argv[1:]
ray.init(address="local", num_cpus=int(cpus), include_dashboard=False, object_store_memory=200 << 20)
def run():
    return embed([fasta], store, run_config({"model": model}), LineReporter(), ToySpec).spaces[0].stored
print("stored", ray.get(ray.remote(run).options(num_cpus=1).remote()) if int(held) else run())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("cpus", "held"), [(1, 0), (2, 1)])
def test_a_run_needs_one_free_cpu(cpus: int, held: int, esm2: Path, tmp_path: Path) -> None:
    """Ray is there already, with one CPU; or a task that holds one of two calls."""
    write_fasta(tmp_path / "p.fasta", 20, seed=3)
    arguments = [str(tmp_path / "p.fasta"), str(esm2), str(tmp_path / "store"), str(cpus), str(held)]
    done = subprocess.run(
        [sys.executable, "-c", ONE_CPU, *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert "stored 20" in done.stdout, done.stdout + done.stderr


def test_copies_of_pipes_are_for_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"NodeManagerHostname": name, "Alive": alive} for name, alive in (("far", True), ("gone", False))]
    monkeypatch.setattr(pool.ray, "nodes", lambda: nodes)
    plain = Source("/data/a.fasta", "fasta", "none", 5)
    pool.require_reach([plain])

    with pytest.raises(ConfigError, match=r"stdin: can be read on this machine only.*\(far\)"):
        pool.require_reach([plain, Source("/tmp/x", "fasta", "none", 5, copy_of="stdin")])
