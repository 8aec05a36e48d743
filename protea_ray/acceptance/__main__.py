"""`python3 -m protea_ray.acceptance OUT`: for a machine with torch and transformers that has neither Ray nor Lance."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from protea_ray.acceptance.all_parts import accept
from protea_ray.errors import ProteaRayError


def main(
    out: Annotated[Path, typer.Argument(help="a folder for acceptance.json, .md and .png")],
    only: Annotated[str, typer.Option(help="parts: numbers,quantised,memory,speed,training,pipeline")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    minutes: Annotated[float | None, typer.Option(help="of each part, in place of its own")] = None,
    proteins: Annotated[str | None, typer.Option(help="FASTA or Parquet; unset: synthetic ones")] = None,
) -> None:
    """Check that this project runs here, is right, and is fast. Exit code 1 when a line missed or failed."""
    try:
        report = accept(out, only=only, device=device, minutes=minutes, proteins=proteins, say=_say)
    except ProteaRayError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    raise typer.Exit(report.exit_code)


def _say(line: str) -> None:
    print(line, flush=True)  # a log that is read while it runs


if __name__ == "__main__":
    typer.run(main)
