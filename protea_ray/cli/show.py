"""What forget and drift print for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from protea_ray.cli.tables import Column, print_table
from protea_ray.query.drift import Agreement, Drift
from protea_ray.store.forget import Forgotten, StoredSource


def print_sources(sources: Sequence[StoredSource]) -> None:
    """One line a source."""
    for source in sources:
        print(source)
    if not sources:
        print("no sources")


def print_forgotten(done: Forgotten) -> None:
    """What was removed of which source, by table."""
    would = "would be " if done.dry_run else ""
    for label in done.sources:
        print(f"{label}: {would}forgotten")
    print(
        f"{done.proteins:,} protein records and {done.rejects:,} rejects {would}removed; "
        f"{done.keys:,} proteins are in no other source"
    )
    for space, rows in done.vectors.items():
        print(f"{space}: {rows:,} rows {would}removed")
    if not done.dry_run:
        print("earlier versions, and pins of them, keep these rows until `protea-ray upkeep` removes the versions")


def print_drift(found: Drift) -> None:
    """One row for the sample and one for each length bucket, then what the numbers mean."""
    console = Console(highlight=False)
    for name, side in (("A", found.a), ("B", found.b)):
        text = f"{name}: {side.space} at version {side.version} ({side.model}), {side.proteins:,} proteins"
        console.print(text, soft_wrap=True, markup=False)
    names = ("residues", "proteins", "cosine, mean", "cosine, 5 % below", f"same of {found.k} neighbours")
    print_table([Column(name, right=True) for name in names], [_cells(row) for row in (found.whole, *found.buckets)])
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
