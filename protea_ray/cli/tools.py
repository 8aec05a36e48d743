"""`protea-ray maps`: attention and contact maps of a few short proteins."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def maps(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="sequence file, directory or URL")],
    out: Annotated[str, typer.Argument(metavar="OUT.npz", help="file to write")],
    outputs: Annotated[str, typer.Option("--outputs", help="attention, contacts (ESM-2), or both")] = "attention",
    ids: Annotated[list[str] | None, typer.Option("--id", help="a protein's id; repeat for several [all]")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="hub id or directory; unset: a small untrained model, offline")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="40-hex commit of a hub id")] = None,
) -> None:
    """Write attention or contact maps of short proteins to OUT.npz, in this process, at float32.

    Arrays: id, and for protein number i attention_i (layers, heads, L, L) and contacts_i (L, L).
    """
    from protea_ray.encoder.maps import write_maps

    wanted = [name.strip() for name in outputs.split(",")]
    done = write_maps(source, out, outputs=wanted, ids=ids, model=model, revision=revision)
    print(f"maps of {done.proteins} protein(s) written to {done.path}")
    if not done.trained:
        print("The model was never trained: these maps carry no biology.", file=sys.stderr)
