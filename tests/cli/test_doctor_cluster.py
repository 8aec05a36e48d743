"""`doctor` and the cluster that is named: what it consists of, or why it cannot be joined."""

from __future__ import annotations

import json

import pytest
import ray

from protea_ray.cli.doctor import _cluster
from protea_ray.cluster.members import Members, members
from tests import commands


def test_a_running_cluster_is_counted_and_stays_joined(cluster: None) -> None:
    address = ray.get_runtime_context().gcs_address
    found = members(address)

    assert (found.nodes, found.dead, found.gpus) == (1, 0, 0)
    assert found.cpus == ray.cluster_resources()["CPU"]
    assert ray.is_initialized()
    (fact,) = _cluster(address)
    assert fact.problem is None
    assert f"1 node(s), {found.cpus} CPUs, 0 GPUs" in fact.value


def test_a_dead_address_is_a_problem_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    done = commands.call("doctor", "--json")
    facts = {fact["name"]: fact for fact in json.loads(done.stdout.splitlines()[-1])["facts"]}

    assert done.returncode == 1
    assert "NO CLUSTER: cluster: address: 127.0.0.1:1 does not answer" in done.stdout
    assert facts["cluster"]["problem"] is not None


def test_no_cluster_is_asked_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert list(_cluster(None)) == []
    assert list(_cluster("local")) == []


def test_members_in_words() -> None:
    found = Members(nodes=3, dead=1, cpus=96, gpus=8, memory=3 << 38, gpu_kinds=("H100",))
    assert found.in_words() == "3 node(s), 1 dead, 96 CPUs, 8 GPUs (H100), 768.0 GiB"
