"""The console that reports print to.

What `drift` prints, for a person who decides whether an alias should move.

What `--dry-run` prints.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from protea_ray.query.drift import Agreement, Drift
from protea_ray.run.dry import Plan
from protea_ray.run.progress import clock_time


def print_drift(found: Drift) -> None:
    """One row for the sample and one for each length bucket, then what the numbers mean."""
    console = Console(highlight=False)
    for name, side in (("A", found.a), ("B", found.b)):
        text = f"{name}: {side.space} at version {side.version} ({side.model}), {side.proteins:,} proteins"
        console.print(text, soft_wrap=True, markup=False)
    table = Table("residues", "proteins", "cosine, mean", "cosine, 5 % below", f"same of {found.k} neighbours")
    for row in (found.whole, *found.buckets):
        table.add_row(*_cells(row))
    console.print(table)
    console.print(
        f"{found.whole.proteins:,} of {found.shared:,} proteins that both hold, pooling {found.pooling}; "
        f"unrelated spaces share {found.chance:.1%} of the neighbours. "
        "Cosine tells something only if B's model grew out of A's.",
        soft_wrap=True,
    )
    for note in found.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def _cells(row: Agreement) -> list[str]:
    cosines = ["-" if value is None else f"{value:.4f}" for value in (row.cosine_mean, row.cosine_low)]
    return [row.residues, f"{row.proteins:,}", *cosines, f"{row.overlap:.1%}"]


WIDE = 160  # columns where there is no terminal to ask: 80 would cut the names of spaces in logs


def wide_console() -> Console:
    """Standard output, as wide as the terminal, without colouring of numbers."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def print_plan(plan: Plan, as_json: bool) -> None:
    """One row a space, then the prediction; with `as_json` the last line is one JSON object."""
    console = wide_console()
    table = Table("space", "to embed", "residues", "windows", "on disk", "already present", "duplicate", "rejected")
    for space in plan.spaces:
        numbers = (space.proteins, space.residues, space.windows)
        rest = (space.already_present, space.duplicate, space.rejected)
        table.add_row(space.space, *(f"{n:,}" for n in numbers), decimal(space.bytes), *(f"{n:,}" for n in rest))
    console.print(table)
    console.print(
        f"{plan.records:,} records read; about {clock_time(plan.seconds)} of embedding on {plan.actors} "
        f"{plan.device} actor(s). Nothing was written."
    )
    if as_json:
        print(json.dumps({"in": plan.records, "dry_run": True, **asdict(plan)}))
