"""The console that reports print to.

What `drift` prints, for a person who decides whether an alias should move.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from protea_ray.query.drift import Agreement, Drift


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
