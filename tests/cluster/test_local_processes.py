"""What runs beside a local run: Ray's processes, counted in the system's own list, in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import os, pathlib, ray
from protea_ray.cluster.connect import connect
from protea_ray.config.run import RunOptions
connect(RunOptions())
session = ray._private.worker._global_node.get_session_dir_path()
for place in pathlib.Path("/proc").iterdir():
    if place.name.isdigit():
        try:
            words = (place / "cmdline").read_bytes().replace(b"\\0", b" ").decode()
        except OSError:
            continue
        if session in words:
            print(words)
print("value", ray.get(ray.remote(lambda: 41 + 1).remote()), flush=True)
input()
"""


def started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env={**os.environ, "RAY_ADDRESS": "local"},
    )  # fmt: skip


def said(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("value"):
            break
    return lines


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="this system does not list processes under /proc")
def test_two_clusters_at_once_have_no_process_too_many_and_no_port_in_common() -> None:
    both = [started(), started()]
    try:
        listed = [said(process) for process in both]
    finally:
        for process in both:
            process.communicate("\n", timeout=120)
    for lines in listed:
        assert lines[-1].split() == ["value", "42"]
        text = "".join(lines[:-1])
        assert "raylet" in text and "gcs_server" in text
        assert not any(name in text for name in ("log_monitor.py", "monitor.py", "dashboard.py"))
        agent = next(line for line in lines if "--listen-port=" in line)
        assert agent.split("--listen-port=")[1].split()[0] == "0"  # any free port
