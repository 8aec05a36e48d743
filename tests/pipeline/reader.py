"""A reader process: `python -m tests.pipeline.reader STORE LOG` reads all of `current` in a loop, a line each."""

from __future__ import annotations

import json
import sys
import time
import zlib
from pathlib import Path

import numpy as np

from protea_ray.query.reader import open_store
from protea_ray.query.view import PIN, missing


def main(store: str, log: Path) -> None:
    with log.open("a") as file:
        while True:
            table = open_store(store).to_arrow(columns=["mean"])
            vectors = table["mean"].combine_chunks()
            numbers = np.ascontiguousarray(vectors.flatten().to_numpy(zero_copy_only=False))
            seen = {
                "space": json.loads((table.schema.metadata or {})[PIN])["space"],
                "rows": len(table),
                "without": len(missing(table)["without_vector"]),
                "width": vectors.type.list_size,
                "digest": zlib.crc32(numbers.tobytes()),
            }
            file.write(json.dumps(seen) + "\n")
            file.flush()
            time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
