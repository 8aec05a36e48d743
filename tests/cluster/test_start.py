"""A local cluster that really starts, where a machine is unkind: a proxy for everything, no home, a long TMPDIR."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

START = """
import ray
from protea_ray.cluster.connect import connect
from protea_ray.config.run import RunOptions
def square(n):
    return n * n
connect(RunOptions())
print("sum", sum(ray.get([ray.remote(square).remote(n) for n in range(5)])))
"""


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that refuses, and what it was asked for."""
    asked: list[str] = []

    class Refuses(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            asked.append(self.requestline)
            self.send_error(502)

        do_GET = do_PUT = do_POST = do_CONNECT = refuse  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", START], env={**inherited, **environment}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_local_start_asks_no_proxy_and_no_metadata_service(
    proxy: tuple[str, list[str]], short_directory: Path
) -> None:
    """A question to a cloud's metadata service (169.254.169.254, metadata.google.internal) would go there too."""
    url, asked = proxy
    everything = {name: url for low in ("http_proxy", "https_proxy", "all_proxy") for name in (low, low.upper())}
    done = start(**everything, RAY_TMPDIR=str(short_directory))

    assert done.stdout == "sum 30\n", done.stderr
    assert done.stderr == ""
    assert asked == []


@pytest.mark.slow
def test_a_home_that_is_a_file_and_a_tmpdir_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    long = tmp_path / "slurm_jobs" / ("job.1234567.partition-long" * 3)
    long.mkdir(parents=True)
    done = start(HOME=str(tmp_path / "home"), TMPDIR=str(long))

    assert done.stdout == "sum 30\n", done.stderr
    assert done.stderr == ""
    assert not list(long.iterdir())


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """Short enough for Ray's sockets, which tmp_path may not be."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)
