"""`ray job submit` on a running cluster: a head with a dashboard, a submitted job, the same store."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protea_ray.sequences.synth import write_fasta
from tests import stores

ROOT = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).with_name("ray")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def head(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Ray head of its own with token authentication; yields the environment that reaches it."""
    gcs, dashboard = free_port(), free_port()
    environment = {
        **os.environ,
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",  # the raylet starts workers with the first python
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    command = [str(RAY), "start", "--head", f"--port={gcs}", f"--dashboard-port={dashboard}", "--num-cpus=3", "--block"]
    command += ["--dashboard-host=127.0.0.1", "--include-dashboard=true", "--object-store-memory=300000000"]
    # Jobs are submitted through the agent, and its default port is any other cluster's of this machine too.
    command.append(f"--dashboard-agent-listen-port={free_port()}")
    start_environment = {k: v for k, v in environment.items() if k != "RAY_ADDRESS"}
    with (tmp_path / "head.log").open("wb") as log:
        process = subprocess.Popen(command, env=start_environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield environment
    finally:
        process.terminate()  # `ray start --block` takes its own processes down, and nobody else's
        process.wait(60)


@pytest.mark.slow
def test_a_submitted_job_embeds_into_the_store(head: dict[str, str], esm2: Path, tmp_path: Path) -> None:
    write_fasta(tmp_path / "p.fasta", 60, seed=2)
    job = ["python", "-m", "jobs.embed", str(tmp_path / "p.fasta"), str(tmp_path / "store"), "--model", str(esm2)]
    submit = [str(RAY), "job", "submit", "--working-dir", str(ROOT), "--", *job, "--json"]

    done = submit_when_ready(submit, head)

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"in": 60' in done.stdout
    assert len(stores.vectors(tmp_path / "store")) == len(stores.sequences(tmp_path / "store")) > 50


NOT_YET = ("Failed to connect", "onnection", "No available agent to submit job")


def submit_when_ready(submit: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The dashboard and its agent take seconds to answer after the head has started; until then, again."""
    for _ in range(30):
        done = subprocess.run(submit, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode == 0 or not any(words in done.stdout + done.stderr for words in NOT_YET):
            return done
        time.sleep(2)
    return done
