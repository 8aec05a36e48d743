"""A cluster without a GPU, whose autoscaler starts nodes for the actors that were asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from protea_ray.config.cache import CACHE_VARIABLE
from protea_ray.sequences.synth import write_fasta
from tests import stores
from tests.deploy.files import ROOT
from tests.ray_head import RAY, free_port, programs, started, wait_for_head

HEAD = "f" * 51 + "00000"  # Ray's fake provider numbers its nodes from this one


def autoscaling(port: int) -> dict[str, Any]:
    """Ray's provider whose nodes are processes of this machine: two may come, each with a GPU that is a number."""
    nobody = {name: [] for name in ("initialization_commands", "setup_commands", "head_setup_commands",
                                    "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands",
                                    "cluster_synced_files", "rsync_exclude", "rsync_filter")}  # fmt: skip
    gpu = {"resources": {"CPU": 1, "GPU": 1, "object_store_memory": 100_000_000}, "node_config": {}, "max_workers": 2}
    provider = {"type": "fake_multinode", "gcs_address": f"127.0.0.1:{port}", "head_node_id": HEAD,
                "launch_multiple": True, "disable_node_updaters": True,
                "disable_launch_config_check": True}  # fmt: skip
    return {
        "cluster_name": "numbers", "max_workers": 2, "idle_timeout_minutes": 1.0, "provider": provider,
        "auth": {"ssh_user": "nobody"}, "head_node_type": "ray.head.default", "file_mounts": {},
        "file_mounts_sync_continuously": False, **nobody,
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
            "gpu": {**gpu, "min_workers": 0},
        },
    }  # fmt: skip


def end_nodes(folder: Path) -> None:
    """The provider's nodes outlive it; these are the ones whose sockets are in a folder of this test."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{folder}/ray/".encode() in file.read_bytes():
                os.kill(int(file.parent.name), signal.SIGKILL)
        except (OSError, ProcessLookupError):
            pass  # it has ended meanwhile


@pytest.mark.slow
def test_named_actors_bring_the_nodes_that_there_are(folder: Path) -> None:
    write_fasta(folder / "p.fasta", 240, seed=3, max_length=60)
    port = free_port()
    (folder / "autoscaling.json").write_text(json.dumps(autoscaling(port)))
    environment = programs() | {
        "RAY_AUTH_MODE": "disabled", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", "PYTHONPATH": str(ROOT),
        "HOME": str(folder), CACHE_VARIABLE: str(folder / "cache"),
    }  # fmt: skip
    environment.pop("CUDA_VISIBLE_DEVICES", None)  # GPUs are numbers here, and Ray would count those that it names
    of_provider = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_CLOUD_INSTANCE_ID": HEAD,
                   "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD, "RAY_NODE_TYPE_NAME": "ray.head.default"}  # fmt: skip
    head = [RAY, "start", "--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=2",
            "--num-gpus=0", "--object-store-memory=100000000", "--include-dashboard=false", "--disable-usage-stats",
            f"--autoscaling-config={folder / 'autoscaling.json'}", f"--temp-dir={folder / 'ray'}",
            "--dashboard-agent-listen-port=0"]  # fmt: skip
    run = [sys.executable, "-m", "tests.deploy.growing_run", folder / "p.fasta", folder / "store"]

    try:
        with started(head, environment | of_provider, folder / "head.log"):
            reach = environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
            wait_for_head(reach)
            done = subprocess.run(
                [*run, '{"actors": 3}'], env=reach, capture_output=True, text=True, timeout=500, check=False
            )
    finally:
        end_nodes(folder)

    assert done.returncode == 0, done.stdout + done.stderr
    (said,) = [json.loads(line.removeprefix("said:")) for line in done.stdout.splitlines() if line.startswith("said:")]
    assert said == {"stored": 240, "actors": 3, "gpus": 2.0}  # the third node never came, and the run did not wait
    assert len(stores.vectors(folder / "store")) == 240
