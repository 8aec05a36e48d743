"""`protea-ray synth` and `protea-ray maps`: commands that need no store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from protea_ray.cli.options import takes_lists

LEFT_OUT_SHOWN = 10  # of the records without a map; the rest is counted


def synth(
    output: Annotated[str, typer.Argument(help="FASTA file to write; it must not exist yet")],
    proteins: Annotated[int, typer.Option("--proteins", "-n", min=1, help="how many")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="same seed, same bytes")] = 0,
    families: Annotated[int | None, typer.Option("--families", min=1, help="how many families [n / 10]")] = None,
    max_length: Annotated[int, typer.Option("--max-length", min=30, help="longest protein, in residues")] = 6000,
    decoys: Annotated[
        int, typer.Option("--decoys", min=0, help="families after each whose ancestors are shuffles of its own")
    ] = 0,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="CSV", help="also write id, target (family) and split [none]")
    ] = None,
) -> None:
    """Write realistic synthetic proteins: families with a common ancestor, labelled in the header."""
    from protea_ray.sequences.synth import write_fasta

    write_fasta(output, proteins, seed, families, max_length=max_length, decoys=decoys, labels=labels)
    print(f"{proteins} synthetic proteins written to {output}" + (f", their families to {labels}" if labels else ""))


@takes_lists(outputs=("attention", "contacts"))
def maps(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="sequence file, directory, URL or - (standard input)")],
    out: Annotated[str, typer.Argument(metavar="OUT.npz", help="file to write")],
    outputs: Annotated[str, typer.Option("--outputs", help="attention, contacts (ESM-2), or both")] = "attention",
    ids: Annotated[list[str] | None, typer.Option("--id", help="a protein's id; repeat for several [all]")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="hub id or directory; unset: small, which ships with the package")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="40-hex commit of a hub id [resolved]")] = None,
    alphabet: Annotated[
        str | None, typer.Option("--alphabet", help="aa, or 3di for structure letters (ProstT5) [aa]")
    ] = None,
) -> None:
    """Write attention or contact maps of short proteins to OUT.npz, in this process, at float32.

    Arrays: id, and for protein number i attention_i (layers, heads, L, L) and contacts_i (L, L).
    """
    from protea_ray.config.map_options import require_map_options
    from protea_ray.config.paths import require_inputs

    wanted = [name.strip() for name in outputs.split(",")]
    require_map_options(Path(out), wanted)  # before the seconds that the imports take
    require_inputs([source])
    from protea_ray.cluster.progress import reporter
    from protea_ray.encoder.maps import write_maps

    with reporter() as report:
        done = write_maps(
            source, out, outputs=wanted, ids=ids, model=model, revision=revision, alphabet=alphabet, report=report
        )
    print(f"maps of {done.proteins} protein(s) written to {done.path}")
    if done.left_out:
        shown = "".join(f"\n  {problem}" for problem in done.left_out[:LEFT_OUT_SHOWN])
        more = len(done.left_out) - LEFT_OUT_SHOWN
        print(f"{len(done.left_out)} record(s) left out:{shown}{f'{chr(10)}  and {more} more' if more > 0 else ''}",
              file=sys.stderr)  # fmt: skip
    if not done.trained:
        print("The model was never trained: these maps carry no biology.", file=sys.stderr)
