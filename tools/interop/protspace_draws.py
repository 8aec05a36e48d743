"""Run by ProtSpace's Python in a folder of exports: `protspace prepare` makes its bundle of vectors.protspace.h5."""
# pyright: reportMissingImports=false

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
from protspace.data.io.bundle import read_bundle
from protspace.data.loaders import load_h5
from same_vectors import same_vectors

VECTORS = Path("vectors.protspace.h5")


def main() -> None:
    """Print what ProtSpace read and what its bundle holds, as JSON."""
    program = Path(sys.executable).with_name("protspace")
    command = [program, "prepare", "-i", VECTORS, "-m", "pca2", "-a", "protspace.csv", "-o", "bundle", "--no-keep-tmp"]
    subprocess.run(command, check=True)
    parts, _ = read_bundle(Path("bundle/data.parquetbundle"))
    tables = [pq.read_table(io.BytesIO(part)) for part in parts]
    columns = {name: table for table in tables for name in table.column_names}
    read = load_h5([VECTORS])
    found = {
        "read": len(read.headers),
        "vectors": same_vectors(read.headers, read.data),
        "places": len(columns["x"]),
        "families": len(columns["family"]["family"].unique()),
        "did": f"bundle of {len(columns['x'])} points by PCA, {len(columns['family'])} annotated",
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
