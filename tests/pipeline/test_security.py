"""Nobody is let in: a dashboard asks for the token, `doctor` tells when one does not, and pickles are banned."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protea_ray.cli.doctor import doctor
from tests import commands

ROOT = Path(__file__).resolve().parents[2]

HEAD = """
import sys
import ray
from protea_ray.cluster.connect import connect
start = ray.init
def init(**options):  # as the package starts it, but with a dashboard, which it never has
    return start(**{**options, "include_dashboard": True, "dashboard_port": int(sys.argv[1])})
ray.init = init
from protea_ray.config.run import RunOptions
connect(RunOptions())
print("up", flush=True)
sys.stdin.read()
"""


@contextmanager
def dashboard(home: Path, **environment: str) -> Iterator[str]:
    """A dashboard of a cluster that this package starts, with a home of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True, env={**kept, "HOME": str(home), **environment},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield f"http://127.0.0.1:{port}"
    finally:
        commands.kill_group(process)  # type: ignore[arg-type]
        for pipe in (process.stdin, process.stdout):
            pipe.close()  # type: ignore[union-attr]


def status(url: str, token: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + "/api/jobs/", headers=headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_a_dashboard_lets_in_who_has_the_token_and_nobody_else(tmp_path: Path) -> None:
    with dashboard(tmp_path) as url:
        token = (tmp_path / ".ray" / "auth_token").read_text()

        assert status(url) == 401
        assert status(url, "0" * len(token)) in (401, 403)
        assert status(url, token) == 200
        assert commands.run("doctor", "--dashboard", url, env={"HOME": str(tmp_path)}).returncode == 0


@pytest.mark.slow
def test_doctor_refuses_an_open_dashboard(tmp_path: Path) -> None:
    with dashboard(tmp_path, RAY_AUTH_MODE="disabled") as url:
        assert status(url) == 200
        done = commands.run("doctor", "--dashboard", url, "--json", env={"HOME": str(tmp_path)})

    assert done.returncode == 1
    assert f"{url}: lets anybody in" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["ok"] is False


class Open(http.server.BaseHTTPRequestHandler):
    """Answers everybody, or nobody."""

    code = 200

    def do_GET(self) -> None:
        self.send_response(self.code)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("code", "safe"), [(200, False), (401, True), (403, True), (500, False)])
def test_what_counts_as_open(code: int, safe: bool) -> None:
    from protea_ray.cli.doctor import _dashboard

    server = http.server.HTTPServer(("127.0.0.1", 0), type("Answers", (Open,), {"code": code}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        fact = _dashboard(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()

    assert (fact.problem is None) == safe


def test_doctor_tells_a_loose_token_and_a_disabled_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from protea_ray.cli.doctor import _token

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".ray").mkdir()
    path = tmp_path / ".ray" / "auth_token"
    path.write_text("t")
    path.chmod(0o644)
    assert "chmod 600" in str(_token().problem)
    path.chmod(0o600)
    assert _token().problem is None
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert _token().problem


def test_only_the_web_is_asked() -> None:
    with pytest.raises(ValueError, match="not an http URL"):
        doctor(dashboard=["file:///etc/passwd"])


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import pickle\n", "TID251"),
        ("from pickle import loads\n", "TID251"),
        ("import cloudpickle\n", "TID251"),
        ("import torch\n\ntorch.load('x')\n", "TID251"),
        ("import yaml\n\nyaml.load('x')\n", "TID251"),
        ("import joblib\n", "TID251"),
    ],
)
def test_the_lint_rule_bites(code: str, rule: str) -> None:
    """With the package's own configuration, on a file of the package."""
    command = [str(Path(sys.executable).with_name("ruff")), "check", "--output-format", "concise"]
    command += ["--stdin-filename", "protea_ray/encoder/added.py", "-"]
    done = subprocess.run(command, input=code, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert rule in done.stdout
