"""Run the command line as a person would, in another process with its own cluster, or in this one (`call`)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.main import get_command

from protea_ray.cli.main import app
from protea_ray.cli.outcome import carry_out

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


@dataclass(frozen=True)
class Done:
    """What a command of this process left behind, as `subprocess.CompletedProcess` has it."""

    returncode: int
    stdout: str
    stderr: str


def call(*arguments: object) -> Done:
    """Run one command in this process, on the Ray that is there, as `main.run` would: errors become messages and codes.

    Starting a process and a cluster of its own takes 10 s; tests of what a command says need neither.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = carry_out(get_command(app), [str(a) for a in arguments])
    return Done(code, out.getvalue(), err.getvalue())


def call_json(*arguments: object) -> dict[str, Any]:
    """Run with --json in this process, expect exit code 0, return the object on the last line."""
    done = call(*arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
