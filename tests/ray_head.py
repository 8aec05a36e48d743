"""A Ray head of a test's own, with a dashboard, a token and ports that no other cluster of this machine has."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

RAY = Path(sys.executable).with_name("ray")
_NOT_YET = ("Failed to connect", "onnection", "No available agent to submit job")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def programs() -> dict[str, str]:
    """This environment, with `python` and `ray` of this interpreter: a raylet starts the first that it finds."""
    return {**os.environ, "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def started(command: Sequence[str | Path], environment: dict[str, str], log: Path) -> Iterator[None]:
    """`ray start --block` beside the test; it takes its own processes down, and nobody else's."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def ray_head(folder: Path) -> Iterator[dict[str, str]]:
    """A head with token authentication; yields the environment that reaches it."""
    dashboard = free_port()
    environment = {**programs(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    command = [RAY, "start", "--head", f"--port={free_port()}", f"--dashboard-port={dashboard}", "--num-cpus=3"]
    command += ["--block", "--dashboard-host=127.0.0.1", "--include-dashboard=true", "--object-store-memory=300000000"]
    # Jobs are submitted through the agent, and its default port is any other cluster's of this machine too.
    command.append(f"--dashboard-agent-listen-port={free_port()}")
    with started(command, environment, folder / "head.log"):
        yield {**environment, "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}


def wait_for_head(environment: dict[str, str]) -> None:
    """Until the head at RAY_ADDRESS (HOST:PORT) of this environment answers; AssertionError after two minutes."""
    deadline = time.monotonic() + 120
    ask = [RAY, "health-check", "--address", environment["RAY_ADDRESS"]]
    while subprocess.run(ask, env=environment, capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, f"no head at {environment['RAY_ADDRESS']}"
        time.sleep(1)


def submit_when_ready(
    submit: Sequence[str | Path], environment: dict[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The dashboard and its agent take seconds to answer after the head has started; until then, again."""
    tries = 30
    while True:
        done = subprocess.run(
            submit, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        tries -= 1
        if done.returncode == 0 or not tries or not any(words in done.stdout + done.stderr for words in _NOT_YET):
            return done
        time.sleep(2)
