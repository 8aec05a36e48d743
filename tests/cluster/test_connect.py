"""Every way in which Ray is not there is one sentence with its own advice, and only a slow start is tried again."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest
from ray._private import ray_constants
from ray.exceptions import AuthenticationError

from protea_ray.cluster import connect as module
from protea_ray.cluster.address import check_address
from protea_ray.cluster.connect import connect
from protea_ray.cluster.cores import usable_cores
from protea_ray.config.run import RunOptions
from protea_ray.errors import ClusterError, ConfigError, ProteaRayError

SLOW = RuntimeError("The current node timed out during startup. This could happen because some of the processes failed")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster is named, and what `connect` sets is put back."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_ADDRESS", "no_grpc_proxy", "no_proxy", "NO_PROXY", "RAY_BACKEND_LOG_LEVEL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def starts(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[dict]:
    """Stand in for ray.init, which raises these errors one after the other; returns what it was called with."""
    calls: list[dict] = []
    left = list(errors)

    def init(**options: object) -> None:
        calls.append({**options, "uv": ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV})
        if left:
            raise left.pop(0)

    monkeypatch.setattr(module.ray, "init", init)
    monkeypatch.setattr(module.ray, "shutdown", lambda: None)
    monkeypatch.setattr(module.ray, "is_initialized", lambda: False)
    return calls


def test_a_slow_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = starts(monkeypatch, SLOW)
    connect(RunOptions())

    assert [c["num_cpus"] for c in calls] == [usable_cores() + 1] * 2


def test_a_local_start_is_small_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", True)
    calls = starts(monkeypatch)
    connect(RunOptions())
    (call,) = calls

    assert (call["address"], call["include_dashboard"], call["log_to_driver"]) == ("local", False, False)
    assert call["uv"] is False  # no upload of the working directory
    assert ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV is True


@pytest.mark.parametrize("address", [None, "127.0.0.1:6379"])
def test_a_start_leaves_the_standard_error_as_it_was(
    address: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ray's C++ is silent while it starts; a notebook that connects again and again does not run out of files."""
    starts(monkeypatch)
    monkeypatch.setattr(module, "check_address", lambda _: None)
    monkeypatch.setattr(module.ray, "init", lambda **_: os.write(2, b"noise of Ray"))
    before = lowest_free_descriptor()
    for _ in range(3):
        connect(RunOptions(address=address))
    os.write(2, b"a word of ours")

    assert lowest_free_descriptor() == before
    assert capfd.readouterr().err == "a word of ours"


def lowest_free_descriptor() -> int:
    """The number that the next file to be opened will get."""
    free = os.dup(0)
    os.close(free)
    return free


@pytest.mark.parametrize("known", [None, "corp.example, 10.0.0.0/8"])
def test_no_proxy_stands_between_rays_own_processes(known: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    starts(monkeypatch)
    if known:
        monkeypatch.setenv("no_proxy", known)
    connect(RunOptions())

    hosts = os.environ[module._DIRECT].split(",")
    assert {"localhost", "127.0.0.1", socket.gethostname()} <= set(hosts)
    assert hosts[:2] == ["corp.example", "10.0.0.0/8"] if known else True
    assert os.environ.get("no_proxy") == known  # other traffic keeps the proxies it has


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError("validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: /a"), "shorter path"),
        (OSError(28, "No space left on device", "/tmp/ray"), "Free some space"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "ulimit -u"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (OSError(12, "Cannot allocate memory"), "Free some memory"),
        (MemoryError(), "Free some memory"),
        (
            RuntimeError("Failed to set up runtime environment. Package size (534.06MiB)"),
            "RAY_RUNTIME_ENV_HOOK",
        ),
        (
            ValueError("Ray component runtime_env_agent is trying to use a port number 1"),
            "unset",
        ),
        (PermissionError(13, "Permission denied", "/x"), "RAY_TMPDIR"),
        (KeyError("something new"), "logs are in"),
    ],
)
def test_a_start_that_fails_has_its_own_advice(error: Exception, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = starts(monkeypatch, error, error)
    with pytest.raises(ClusterError, match=f"did not start on this machine.*{advice}") as caught:
        connect(RunOptions())

    assert len(calls) == 1  # a second attempt would fail alike
    assert "out of memory, or busy" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_start_that_is_slow_twice_may_be_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    starts(monkeypatch, SLOW, SLOW)
    with pytest.raises(ClusterError, match=r"twice: .*timed out during startup.*out of memory, or busy\?"):
        connect(RunOptions())


MISMATCH = RuntimeError(
    "Version mismatch: The cluster was started with:\n    Ray: 2.49.0\n    Python: 3.11.7\nThis process on node "
    "10.0.0.2 was started with:\n    Ray: 2.60.0\n    Python: 3.12.1\n"
)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ConnectionError("Failed to connect"), ConfigError, r"10\.0\.0\.1:6379.*RAY_AUTH_MODE=token"),
        (AuthenticationError("bad token"), ConfigError, "RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN as on the cluster"),
        (MISMATCH, ConfigError, r"Ray 2\.49\.0 on Python 3\.11\.7, this process Ray 2\.60\.0 on Python 3\.12\.1"),
        (ValueError("Invalid address format"), ConfigError, "is no address of a Ray cluster"),
        (
            RuntimeError("Failed to upload working_dir /w: Package size"),
            ClusterError,
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV=0",
        ),
        (Exception("The current node has not been updated within 30 seconds"), ClusterError, "could not be joined"),
    ],
)
def test_a_cluster_that_cannot_be_joined(
    error: Exception, kind: type[ProteaRayError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts(monkeypatch, error)
    monkeypatch.setattr(module, "check_address", lambda _: None)
    with pytest.raises(kind, match=said):
        connect(RunOptions(address="10.0.0.1:6379"))


class Page(BaseHTTPRequestHandler):
    """A web server: what listens at a dashboard's port. Ray takes this machine by its own address, not by loopback."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    server = HTTPServer(("", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[str]:
    """A gRPC server with or without the method that a cluster's head has."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    if request.param:
        answer = grpc.unary_unary_rpc_method_handler(lambda *_: b"")
        methods = grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", {"GetClusterId": answer})
        server.add_generic_rpc_handlers((methods,))
    port = server.add_insecure_port("0.0.0.0:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://127.0.0.1:8265", "is a dashboard, which takes jobs"),
        ("https://head.example.org", "is a dashboard"),
        ("redis://head:6379", "redis://"),
        ("head.example.invalid", "is no HOST:PORT"),
        ("head.example.invalid:6379", "does not answer"),
        ("127.0.0.1:port", "is no HOST:PORT"),
        ("127.0.0.1:70000", "is no HOST:PORT"),
        (":6379", "is no HOST:PORT"),
        ("ray://127.0.0.1", "is no HOST:PORT"),
    ],
)
def test_an_address_of_another_kind(address: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = starts(monkeypatch)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=why) as caught:
        connect(RunOptions())
    assert "HOST:6379" in str(caught.value) and caught.value.exit_code == 2
    assert calls == []


def test_nobody_listens() -> None:
    for address in (f"127.0.0.1:{free_port()}", f"ray://127.0.0.1:{free_port()}", f"localhost:{free_port()}"):
        with pytest.raises(ConfigError, match="does not answer"):
            check_address(address)


def test_auto_finds_no_cluster_or_a_stale_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)  # those of other programs on this machine
    with pytest.raises(ConfigError, match="finds no cluster on this machine"):
        check_address("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{free_port()}")  # of a cluster that was killed
    with pytest.raises(ConfigError, match="auto does not answer"):
        check_address("auto")


def test_a_web_server_is_no_head(web: str) -> None:
    with pytest.raises(ConfigError, match="is no head of a cluster"):
        check_address(web, seconds=1.0)


@pytest.mark.parametrize("served", [False], indirect=True)
def test_another_port_of_a_cluster(served: str) -> None:
    with pytest.raises(ConfigError, match="another port of a cluster than its head's"):
        check_address(served)


@pytest.mark.parametrize("served", [True], indirect=True)
def test_a_head_is_let_through(served: str) -> None:
    check_address(served)
