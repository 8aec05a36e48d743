"""Run the command line as a person would: another process, its own cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-m", "protea_ray.cli.main"]


def run(
    *arguments: object, timeout: float = 300, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end; the caller looks at the exit code."""
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})}, check=False
    )


def run_json(*arguments: object, **options: Any) -> dict[str, Any]:
    """Run with --json, expect exit code 0, return the object on the last line."""
    done = run(*arguments, "--json", **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def start(*arguments: object, log: Path) -> subprocess.Popen[bytes]:
    """Start in a process group of its own, so that a kill takes the cluster with it."""
    with log.open("wb") as sink:
        return subprocess.Popen([*PROGRAM, *map(str, arguments)], stdout=sink, stderr=sink, start_new_session=True)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the driver first, then what it leaves behind, as a power cut would."""
    process.kill()
    process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
