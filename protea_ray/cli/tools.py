"""`protea-ray maps`: attention and contact maps of a few short proteins.

`protea-ray convert-protea`: a PROTEA embedding config as a run.yaml, and in words what changes.

`protea-ray synth`: synthetic protein families of any size, to try things with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def synth(
    output: Annotated[str, typer.Argument(help="FASTA file to write")],
    proteins: Annotated[int, typer.Option("--proteins", "-n", min=1, help="how many")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="same seed, same bytes")] = 0,
    families: Annotated[int | None, typer.Option("--families", min=1, help="how many families [n / 10]")] = None,
    max_length: Annotated[int, typer.Option("--max-length", min=30, help="longest protein, in residues")] = 6000,
) -> None:
    """Write realistic synthetic proteins: families with a common ancestor, labelled in the header."""
    from protea_ray.sequences.synth import write_fasta

    write_fasta(output, proteins, seed, families, max_length=max_length)
    print(f"{proteins} synthetic proteins written to {output}")


def convert_protea(
    file: Annotated[str, typer.Argument(metavar="FILE.json", help="PROTEA embedding config, one JSON object")],
    out: Annotated[str | None, typer.Option("--out", metavar="run.yaml", help="file to write [print it]")] = None,
) -> None:
    """Turn a PROTEA embedding config into a run.yaml for `embed --config`, and say what means something else here."""
    import yaml

    from protea_ray.exchange.protea_config import convert, read_protea

    found = convert(read_protea(file))
    notes = "".join(f"# {note}\n" for note in found.notes)
    recipe = yaml.safe_dump(found.config_fields, sort_keys=False)
    if out is None:
        print(notes + recipe, end="")
        return
    Path(out).write_text(notes + recipe, encoding="utf-8")
    print(*found.notes, f"Written to {out}; use it with protea-ray embed INPUT STORE --config {out}", sep="\n")


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
