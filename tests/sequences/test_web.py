"""Inputs by URL: proxies of the environment, the network's cause in the message, streams without a length."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from protea_ray.errors import InputError
from protea_ray.sequences.inputs import expand
from tests.sequences.reading import read

BODY = b">w1 by wire\nMKLVNW\n>w2\nGGSA\n"
CHUNK = 7


class Answers(BaseHTTPRequestHandler):
    """Answers by the last part of the path; `server.seen` holds what was asked."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        """Refused for streams, as by servers that compute an answer."""
        self.server.seen.append(f"HEAD {self.path}")
        if "stream" in self.path:
            self._plain(405, b"")
        else:
            self._answer(head=True)

    def do_GET(self) -> None:
        """The whole body, or an error."""
        self.server.seen.append(f"GET {self.path}")
        self._answer(head=False)

    def _answer(self, *, head: bool) -> None:
        kind = self.path.partition("?")[0].rsplit("/", 1)[-1]
        if kind.isdigit():
            self._plain(int(kind), b"")
        elif kind == "circle":
            self._plain(302, b"", Location=self.path)
        elif kind.startswith("stream"):
            self._chunked(BODY, whole="cut" not in kind)
        else:
            self._plain(200, b"" if head else BODY, length=len(BODY))

    def _plain(self, status: int, body: bytes, length: int = 0, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _chunked(self, body: bytes, *, whole: bool) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), CHUNK):
            chunk = body[at : at + CHUNK]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if whole:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = not whole

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


class Server(ThreadingHTTPServer):
    """A server of this process; as a proxy it answers for every host."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.seen: list[str] = []

    def handle_error(self, *_: object) -> None:
        """A client that hangs up early is no error of the server."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as running:
        yield running


def refused(url: str) -> str:
    with pytest.raises(InputError) as caught:
        expand([url])
    return str(caught.value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_proxy_of_the_environment_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    got = read("http://no-such-host.invalid/set/a.fasta")
    assert [(row["id"], row["sequence"]) for row in got.proteins] == [("w1", "MKLVNW"), ("w2", "GGSA")]
    assert "GET http://no-such-host.invalid/set/a.fasta" in server.seen


def test_no_proxy_is_obeyed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert read(f"{server.url}/b.fasta").total == 2
        assert proxy.seen == []


def test_a_proxy_that_does_not_answer_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    said = refused("http://no-such-host.invalid/c.fasta")
    assert "the proxy does not answer" in said
    assert "no such file" not in said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("x/404", "no such file (the server answers 404)"),
        ("x/410", "no such file (the server answers 410)"),
        ("x/403", "the server answers 403"),
        ("x/503", "the server answers 503"),
        ("circle", "redirects without end"),
    ],
)
def test_what_the_server_answers_is_said(server: Server, path: str, said: str) -> None:
    answer = refused(f"{server.url}/{path}")
    assert said in answer
    assert ("no such file" in answer) == ("no such file" in said)


def test_a_host_or_port_that_does_not_answer_is_no_missing_file(server: Server) -> None:
    assert "the server's name is not known" in refused("http://no-such-host.invalid/d.fasta")
    said = refused(f"http://127.0.0.1:{free_port()}/d.fasta")
    assert "no connection could be made" in said
    assert "no such file" not in said


def test_a_stream_without_a_length_is_copied_once(server: Server) -> None:
    url = f"{server.url}/stream?query=kinase&token=secret"
    got = read(url, part_bytes=5)
    assert [row["id"] for row in got.proteins] == ["w1", "w2"]
    asked = [line for line in server.seen if line.startswith("GET")]
    assert len(asked) == 2  # once for the length, which is not told, and once for the bytes
    (source,) = expand([url])
    assert source.name == f"{server.url}/stream"


def test_a_stream_that_breaks_off_is_refused(server: Server) -> None:
    assert "the transfer broke off" in refused(f"{server.url}/stream-cut")
