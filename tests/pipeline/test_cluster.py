"""Ray that does not start is tried once more and then named; a pool leaves room to read."""

from __future__ import annotations

import pytest

from protea_ray.config.run import RunOptions
from protea_ray.errors import ClusterError, ConfigError
from protea_ray.pipeline import cluster
from protea_ray.sequences.parts import Source


def starts(failures: int, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Stand in for ray.init, failing this often; returns what it was called with."""
    calls: list[dict] = []

    def init(**options: object) -> None:
        calls.append(options)
        if len(calls) <= failures:
            raise RuntimeError("The current node timed out during startup")

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return calls


def test_a_slow_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = starts(1, monkeypatch)
    cluster.connect(RunOptions())

    assert [c["num_cpus"] for c in calls] == [cluster.usable_cores() + 1] * 2


def test_ray_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    starts(2, monkeypatch)

    with pytest.raises(ClusterError, match="timed out during startup"):
        cluster.connect(RunOptions())


def resources(monkeypatch: pytest.MonkeyPatch, **have: float) -> None:
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: have)


def test_cpu_actors_leave_one_cpu_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    resources(monkeypatch, CPU=9)

    assert cluster.pool_for(RunOptions(), "cpu", 100) == cluster.Pool("cpu", 8, 8, 1.0, 0.0)
    assert cluster.pool_for(RunOptions(actors=3, min_actors=1), "cpu", 100).min_actors == 1
    assert cluster.pool_for(RunOptions(), "cpu", 2).actors == 2


def test_gpu_actors_take_one_gpu_and_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    resources(monkeypatch, CPU=16, GPU=4)

    assert cluster.device_of(RunOptions()) == "cuda"
    assert cluster.pool_for(RunOptions(), "cuda", 100) == cluster.Pool("cuda", 4, 4, 0.0, 1.0)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resources(monkeypatch, CPU=2)

    with pytest.raises(ConfigError, match="no GPU"):
        cluster.device_of(RunOptions(device="cuda"))


def test_copies_of_pipes_are_for_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"NodeManagerHostname": name, "Alive": alive} for name, alive in (("far", True), ("gone", False))]
    monkeypatch.setattr(cluster.ray, "nodes", lambda: nodes)
    plain = Source("/data/a.fasta", "fasta", "none", 5)
    cluster.require_reach([plain])

    with pytest.raises(ConfigError, match=r"stdin: can be read on this machine only.*\(far\)"):
        cluster.require_reach([plain, Source("/tmp/x", "fasta", "none", 5, copy_of="stdin")])
