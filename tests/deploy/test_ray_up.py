"""deploy/ray-up/cluster.yaml: what `ray up` would check, and its commands run without AWS."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
from ray.autoscaler._private.util import prepare_config, validate_config

from protea_ray.sequences.synth import write_fasta
from tests.deploy.files import ROOT, embedded, local, read
from tests.ray_head import RAY, free_port, programs, started, submit_when_ready

CLUSTER = "ray-up/cluster.yaml"


def check(cluster: Any) -> None:
    """As `ray up` does it: defaults filled in, Ray's schema, and what it checks beside it."""
    prepared = prepare_config(copy.deepcopy(cluster))
    for node in prepared["available_node_types"].values():
        node.setdefault("resources", {})  # AWS says them, by the instance's type
    schema = json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(prepared, schema)
    validate_config(prepared)


def test_ray_up_takes_the_cluster() -> None:
    check(read(CLUSTER))


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("", "max_worker", 8),
        ("", "idle_timeout_minutes", "five"),
        ("", "head_node_type", "heads"),
        ("docker", "images", "x"),
        ("available_node_types/gpu", "max_workers", "8"),
        ("", "worker_start_ray_commands", "ray stop"),
    ],
)
def test_a_mistake_is_found(place: str, key: str, value: Any) -> None:
    broken = read(CLUSTER)
    part = broken
    for step in filter(None, place.split("/")):
        part = part[step]
    part[key] = value

    with pytest.raises((jsonschema.ValidationError, ValueError)):
        check(broken)


def test_gpu_nodes_are_spot_and_start_at_none() -> None:
    gpu = read(CLUSTER)["available_node_types"]["gpu"]

    assert gpu["min_workers"] == 0 < gpu["max_workers"]
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def in_the_image(environment: dict[str, str], home: Path) -> dict[str, str]:
    """The package and `jobs` are found from every directory, as in the image, and the home is empty."""
    home.mkdir(exist_ok=True)
    return {**environment, "PYTHONPATH": str(ROOT), "HOME": str(home)}


def start_command(kind: str, port: int, *more: str) -> list[str]:
    """The command that starts Ray on a head or a worker, to run in the foreground."""
    stop, start = read(CLUSTER)[f"{kind}_start_ray_commands"]
    assert stop == "ray stop"  # for all of a container's processes; here it would end other people's
    words = [word for word in start.split() if not word.startswith("--autoscaling-config=")]
    return ["bash", "-c", " ".join([*words, "--block", *more]).replace("6379", str(port))]


def test_a_head_without_the_token_does_not_start(tmp_path: Path) -> None:
    done = subprocess.run(
        start_command("head", free_port()), env=in_the_image(programs(), tmp_path / "home"), capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "RAY_AUTH_TOKEN" in done.stdout + done.stderr


@pytest.mark.slow
def test_nodes_of_ray_up_share_the_token_that_is_mounted(tmp_path: Path) -> None:
    proteins, store, home = tmp_path / "p.fasta", tmp_path / "store", tmp_path / "home"
    write_fasta(proteins, 30, seed=2, max_length=60)
    environment = {**in_the_image(programs(), home), "RAY_HEAD_IP": "127.0.0.1"}
    (mounted,) = read(CLUSTER)["file_mounts"]
    token = Path(mounted.replace("~", str(home)))
    token.parent.mkdir()
    token.write_text("f" * 64)
    gcs, dashboard = free_port(), free_port()
    ports = [f"--dashboard-agent-listen-port={free_port()}", "--num-cpus=2", "--object-store-memory=100000000"]
    head = start_command("head", gcs, f"--dashboard-port={dashboard}", *ports)
    worker = start_command("worker", gcs, "--dashboard-agent-listen-port=0", *ports[1:])
    reach = {**environment, "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}", "RAY_AUTH_MODE": "token"}
    command = local(read("kuberay/rayjob.yaml")["spec"]["entrypoint"], proteins, store)

    with started(head, environment, tmp_path / "head.log"):
        submit_when_ready([RAY, "job", "list"], reach)
        with started(worker, environment, tmp_path / "worker.log"):
            done = submit_when_ready([RAY, "job", "submit", "--", *command], reach, tmp_path)
            stranger = {**reach, "RAY_AUTH_TOKEN": "0" * 64}
            refused = subprocess.run(
                [RAY, "job", "list"], env=stranger, capture_output=True, text=True, timeout=120, check=False
            )

    assert done.returncode == 0, done.stdout + done.stderr
    assert embedded(store) == 30
    assert refused.returncode != 0
    assert "Ray runtime started" in (tmp_path / "worker.log").read_text()
