"""`python -m jobs.precision MODEL --store STORE --out OUT.json`: what half precision costs a model, against float32.

Proteins are drawn by seed from a store, or from a file with --fasta. One process, no cluster; float16 needs a GPU.
Prints the table, and writes it as JSON where --out says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from jobs.program import run_program
from protea_ray.cluster.progress import reporter
from protea_ray.errors import ConfigError
from protea_ray.evaluate.precision import HALVES, PROTEINS, precision_table
from protea_ray.evaluate.sampled_proteins import from_files, from_store


def main(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name, hub id or directory")],
    store: Annotated[str | None, typer.Option("--store", help="draw the proteins of a store")] = None,
    fasta: Annotated[str | None, typer.Option("--fasta", help="or of a file")] = None,
    proteins: Annotated[int, typer.Option("--proteins", min=1, help="how many")] = PROTEINS,
    seed: Annotated[int, typer.Option("--seed", min=0, help="same seed, same proteins")] = 0,
    dtypes: Annotated[str, typer.Option("--dtypes", help="float16, bfloat16 or both")] = ",".join(HALVES),
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N")] = "auto",
    out: Annotated[Path | None, typer.Option("--out", help="JSON file to write")] = None,
) -> None:
    """Compare a model's last hidden states in half precision with those in float32."""
    if (store is None) == (fasta is None):
        raise ConfigError("name the proteins: --store STORE or --fasta FILE, one of the two", where="precision")
    drawn = from_store(store, proteins, seed) if store else from_files([str(fasta)], proteins, seed)
    wanted = [name.strip() for name in dtypes.split(",")]
    with reporter() as report:
        table = precision_table(model, drawn, wanted, device, report)
    print(table)
    if out is not None:
        facts = {**table.to_json(), "seed": seed, "drawn": len(drawn), "from": store or fasta}
        out.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        print(f"written: {out}")


def run(arguments: Sequence[str] | None = None) -> None:
    """Run as a program."""
    run_program(main, arguments)


if __name__ == "__main__":
    run()
