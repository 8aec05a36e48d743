"""`protea-ray convert-protea`: a PROTEA embedding config as a run.yaml, and in words what changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert_protea(
    file: Annotated[str, typer.Argument(metavar="FILE.json", help="PROTEA embedding config, one JSON object")],
    out: Annotated[str | None, typer.Option("--out", metavar="run.yaml", help="file to write [print it]")] = None,
) -> None:
    """Turn a PROTEA embedding config into a run.yaml for `embed --config`, and say what means something else here."""
    import yaml

    from protea_ray.config.protea import convert, read_protea

    found = convert(read_protea(file))
    notes = "".join(f"# {note}\n" for note in found.notes)
    recipe = yaml.safe_dump(found.config_fields, sort_keys=False)
    if out is None:
        print(notes + recipe, end="")
        return
    Path(out).write_text(notes + recipe, encoding="utf-8")
    print(*found.notes, f"Written to {out}; use it with protea-ray embed INPUT STORE --config {out}", sep="\n")
