"""Run by cellxgene's Python in a folder of exports: serve vectors.h5ad on 127.0.0.1 and ask for all that a page asks.

The answers are decoded by cellxgene's own reader.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from same_vectors import same_vectors
from server.common.fbs.matrix import decode_matrix_fbs

WAIT = 180  # seconds until the server must answer
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> None:
    """Print what cellxgene answered, as JSON."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("cellxgene")
    command = [program, "launch", "vectors.h5ad", "--host", "127.0.0.1", "--port", str(port), "--disable-annotations"]
    server = subprocess.Popen(command, stdout=sys.stderr)
    try:
        print(json.dumps(asked(server, f"http://127.0.0.1:{port}/api/v0.2/")))
    finally:
        server.terminate()
        server.wait(30)


def asked(server: subprocess.Popen[bytes], api: str) -> dict[str, Any]:
    """What the page shows: the schema, the ids, a layout, the families, and the vectors column by column."""
    schema = json.loads(first_answer(server, f"{api}schema"))["schema"]
    size = schema["dataframe"]
    layouts = [layout["name"] for layout in schema["layout"]["obs"]]
    ids = matrix(f"{api}annotations/obs?annotation-name=id")["id"]
    families = matrix(f"{api}annotations/obs?annotation-name=family")["family"]
    places = matrix(f"{api}layout/obs?layout-name=pca")
    columns = [matrix(f"{api}data/var?var:name_0={column}").iloc[:, 0] for column in range(size["nVar"])]
    return {
        "read": size["nObs"],
        "vectors": same_vectors(ids, np.stack(columns, axis=1)),
        "places": int(np.isfinite(places.to_numpy()).all(axis=1).sum()),
        "families": len(set(families)),
        "did": f"served the layouts {', '.join(layouts)} and {size['nVar']} columns",
    }


def first_answer(server: subprocess.Popen[bytes], url: str) -> bytes:
    """The answer to a request that is made again until the server is up."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end and server.poll() is None:
        try:
            return answer(url)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise SystemExit(f"cellxgene did not answer within {WAIT} s; it ended with {server.poll()}")


def answer(url: str) -> bytes:
    """The body of an answer, packed as browsers ask for it: cellxgene 1.3.0 breaks off one that is not."""
    accepted = {"Accept": "application/octet-stream, application/json", "Accept-Encoding": "gzip"}
    with DIRECT.open(urllib.request.Request(url, headers=accepted), timeout=60) as response:
        body = response.read()
        return gzip.decompress(body) if response.headers["Content-Encoding"] == "gzip" else body


def matrix(url: str) -> Any:
    """An answer as a data frame."""
    return decode_matrix_fbs(answer(url))


if __name__ == "__main__":
    main()
