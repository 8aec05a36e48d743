"""S3 that fails: moto behind one lock in a process of its own, once as it is and once behind faults of ours.

Moto's own threaded server is not atomic under If-None-Match (5,901 of 6,001 rows once), its application behind one
lock is. The process takes one JSON command a line on standard input, and answers each with a line; it ends with it.
Faults are drawn from a seed in the order of requests.
"""

from __future__ import annotations

import io
import json
import random
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "chaos"
ERRORS = {
    "503": ("503 Slow Down", "SlowDown"),
    "500": ("500 Internal Server Error", "InternalError"),
    "404": ("404 Not Found", "NoSuchBucket"),
}
MANIFEST = re.compile(r"/_versions/[^/]+\.manifest")
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class Faults:
    """Shares of requests. `applied_500`: of PUTs of manifests, which arrive, and the client is told that they failed.

    Of the connections that are reset, half are before and half after the request was carried out.
    """

    error_503: float = 0.0
    error_500: float = 0.0
    resets: float = 0.0
    applied_500: float = 0.0
    seed: int = 0


class S3:
    """The test's end: starts and stops the process, and says what shall fail."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.s3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self._ports = self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()  # type: ignore[union-attr]

    @property
    def environment(self) -> dict[str, str]:
        """Of a process whose requests are to fail."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports['faulty']}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "chaos",
            "AWS_SECRET_ACCESS_KEY": "chaos",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def fail(self, faults: Faults) -> int:
        """From now on; returns how many requests the faults before struck."""
        return self._ask({"do": "fail", **asdict(faults)})["struck"]

    def vanish(self) -> None:
        """The bucket is gone."""
        self._ask({"do": "vanish"})

    def come_back(self) -> None:
        """The bucket, with all it held."""
        self._ask({"do": "come_back"})

    def names(self, prefix: str) -> list[str]:
        """Of the objects under a prefix."""
        return self._ask({"do": "names", "prefix": prefix})["names"]

    def copy(self, prefix: str, folder: Path) -> Path:
        """What the bucket holds under a prefix as files, so that a test reads it without S3; returns the folder."""
        self._ask({"do": "copy", "prefix": prefix, "folder": str(folder)})
        return folder

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


class _Faulty:
    """In front of an application: some requests never arrive there, some answers never come back."""

    def __init__(self, behind: Application) -> None:
        self._behind = behind
        self._lock = threading.Lock()
        self.gone = False  # the bucket
        self.arm(Faults())

    def arm(self, faults: Faults) -> int:
        with self._lock:
            struck = getattr(self, "_struck", 0)
            self._faults, self._chosen, self._struck = faults, random.Random(faults.seed), 0
            return struck

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # all of the request is read first: an error to a client that still sends is a reset
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        what = "404" if self.gone else self._draw(environ)
        if what in ERRORS:
            return _error(what, start_response)
        if what == "reset before":
            return _reset(environ)
        answer = self._behind(environ, start_response if what is None else _ignore)
        if what == "reset after":
            return _reset(environ)
        return answer if what is None else _error("500", start_response)

    def _draw(self, environ: dict[str, Any]) -> str | None:
        """What happens to this request."""
        faults = self._faults
        manifest = environ["REQUEST_METHOD"] == "PUT" and MANIFEST.search(environ["PATH_INFO"])
        shares = {
            "503": faults.error_503,
            "500": faults.error_500,
            "reset before": faults.resets / 2,
            "reset after": faults.resets / 2,
            "applied 500": faults.applied_500 if manifest else 0.0,
        }
        with self._lock:
            left = self._chosen.random()
            for what, share in shares.items():
                left -= share
                if left < 0:
                    self._struck += 1
                    return what
        return None


def _ignore(*_: Any) -> None:
    """Take an answer that nobody gets."""


def _error(code: str, start_response: Callable[..., Any]) -> list[bytes]:
    status, name = ERRORS[code]
    start_response(status, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{name}</Code><Message>said the chaos suite</Message></Error>".encode()]


def _reset(environ: dict[str, Any]) -> list[bytes]:
    """Close without an answer: the server finds nothing more to read, and lets go without waiting."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RD)
    raise ConnectionError("reset by the chaos suite")


def main() -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.s3.models import s3_backends
    from werkzeug.serving import WSGIRequestHandler, make_server
    from werkzeug.test import run_wsgi_app

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # a connection a request would cost more than the request

        def log(self, *_: Any, **__: Any) -> None: ...

    lock, real = threading.Lock(), DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with lock:
            body, status, headers = run_wsgi_app(real, environ, buffered=True)
        start_response(status, list(headers))
        return body

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    backend.create_bucket(BUCKET, "us-east-1")
    faulty = _Faulty(application)
    server = make_server("127.0.0.1", 0, faulty, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"faulty": server.server_port}), flush=True)
    for line in sys.stdin:
        command, answer = json.loads(line), {}
        match command.pop("do"):
            case "fail":
                answer["struck"] = faulty.arm(Faults(**command))
            case "vanish":
                faulty.gone = True
            case "come_back":
                faulty.gone = False
            case "names":
                with lock:
                    answer["names"] = [n for n in backend.buckets[BUCKET].keys if n.startswith(f"{command['prefix']}/")]
            case "copy":
                with lock:
                    _copy(backend.buckets[BUCKET], command["prefix"], Path(command["folder"]))
        print(json.dumps(answer), flush=True)


def _copy(bucket: Any, prefix: str, folder: Path) -> None:
    for name, key in bucket.keys.items():
        if name.startswith(f"{prefix}/"):
            place = folder / name.removeprefix(f"{prefix}/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(key.value)


if __name__ == "__main__":
    main()
