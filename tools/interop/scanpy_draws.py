"""Run by scanpy's Python in a folder of exports: neighbours and two drawings of vectors.h5ad."""
# pyright: reportMissingImports=false

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import scanpy
from same_vectors import same_vectors


def main() -> None:
    """Print what scanpy read and drew, as JSON."""
    read = scanpy.read_h5ad("vectors.h5ad")
    scanpy.pp.neighbors(read, use_rep="X_mean")
    scanpy.settings.figdir = "."
    for column in ("family", "length"):
        scanpy.pl.pca(read, color=column, show=False, save=f"_{column}.png")
    drawn = [path for path in sorted(Path().glob("*.png")) if path.stat().st_size > 1000]
    found = {
        "read": read.n_obs,
        "vectors": same_vectors(read.obs["id"], read.obsm["X_mean"]),
        "places": len(read.obsm["X_pca"]),
        "families": len(read.uns["family_colors"]),
        "did": f"a graph of {read.obsp['distances'].nnz} neighbours, {len(drawn)} drawings",
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
