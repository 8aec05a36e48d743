"""What a run prints when it ends, for a person."""

from __future__ import annotations

from rich.table import Table

from protea_ray.cli.show import wide_console
from protea_ray.run.summary import Summary


def print_summary(summary: Summary) -> None:
    """The accounting of every space, then rate and place, on standard output."""
    console = wide_console()
    table = Table(
        "space",
        *(f"[bold]{name}[/bold]" for name in ("in", "stored", "duplicate", "rejected", "already present")),
    )
    for count in summary.spaces:
        numbers = (summary.records, count.stored, count.duplicate, count.rejected, count.already_present)
        table.add_row(count.space, *(f"{n:,}" for n in numbers))
    console.print(table)
    console.print("in = stored + duplicate + rejected + already present: checked")
    if summary.embed_seconds:
        rate = summary.residues / summary.embed_seconds
        console.print(
            f"{summary.residues:,} residues in {summary.embed_seconds:.1f} s on {summary.actors} {summary.device} "
            f"actor(s): {rate:,.0f} residues/s"
        )
        console.print(
            f"start-up {summary.startup_seconds:.1f} s from the command to the first forward pass (one encoder: load "
            f"{summary.load_seconds:.1f} s, first pass {summary.first_forward_seconds:.1f} s)"
        )
    console.print(f"store: {summary.store}", soft_wrap=True)
