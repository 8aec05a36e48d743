"""`protea-ray synth`: synthetic protein families of any size, to try things with."""

from __future__ import annotations

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
