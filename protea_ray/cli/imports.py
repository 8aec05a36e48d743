"""`protea-ray import`: vectors that another program computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from protea_ray.cli.options import JSON


def import_(
    vectors: Annotated[
        str, typer.Argument(metavar="VECTORS", help="FastESM's SQLite or .pth, fair-esm's folder, biotrainer's .h5")
    ],
    store: Annotated[str, typer.Argument(metavar="STORE", help="directory, s3:// or gs:// URI")],
    model: Annotated[str, typer.Option("--model", help="what computed the vectors; part of the space's name")],
    pooling: Annotated[str, typer.Option("--pooling", help="column of vectors whose file does not name it")] = "mean",
    layer: Annotated[int | None, typer.Option("--layer", help="of fair-esm's files, where they hold several")] = None,
    store_dtype: Annotated[str, typer.Option("--store-dtype", help="float16 or float32")] = "float16",
    fasta: Annotated[list[str] | None, typer.Option("--fasta", help="proteins to add to the store first")] = None,
    unmatched: Annotated[Path | None, typer.Option("--unmatched", help="write ids of no protein here")] = None,
    as_json: JSON = False,
) -> None:
    """Import existing VECTORS into a space of STORE, matched to its proteins by id or by sequence."""
    from protea_ray.query.imports.formats import open_source
    from protea_ray.query.imports.space import ImportOptions
    from protea_ray.query.imports.take import import_vectors
    from protea_ray.store.lease import Lease
    from protea_ray.store.location import open_location
    from protea_ray.store.runs import new_run_id

    options = ImportOptions(model, pooling, layer, store_dtype)
    source, location, run = open_source(vectors), open_location(store), new_run_id()
    with Lease.acquire(location) as lease:
        if fasta:
            _ingest(fasta, location, run, lease)
        done = import_vectors(source, location, options, run, lease.check)
    if unmatched is not None:
        unmatched.write_text("".join(f"{name}\n" for name in done.unmatched_names), encoding="utf-8")
    _print(done)
    if as_json:
        print(json.dumps(done.to_json()))


def _ingest(fasta: list[str], location: Any, run: str, lease: Any) -> None:
    from protea_ray.config.run import RunOptions
    from protea_ray.run.cluster import connect
    from protea_ray.run.ingest import ingest

    connect(RunOptions())
    ingest(fasta, location, RunOptions(), run, lease.check)


def _print(done: Any) -> None:
    print(f"{done.space}: {done.read:,} vectors read from {done.format}")
    print(f"  {done.stored:,} stored, {done.already_present:,} already present, {done.duplicate:,} of the same letters")
    if done.rejected:
        print(f"  rejected: {', '.join(f'{reason} {count:,}' for reason, count in sorted(done.rejected.items()))}")
    if done.unmatched:
        shown = ", ".join(done.unmatched_names[:3])
        print(f"  {done.unmatched:,} belong to no protein of the store ({shown}{', ...' * (done.unmatched > 3)}); "
              "--fasta adds proteins, and FastESM keys long proteins by the part that it kept")  # fmt: skip
