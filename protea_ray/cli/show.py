"""What forget, alias and drift print for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protea_ray.cli.tables import Column, print_table, say
from protea_ray.query.drift import Agreement, Drift
from protea_ray.store.aliases import Alias
from protea_ray.store.forget import Forgotten, StoredSource


def print_sources(sources: Sequence[StoredSource]) -> None:
    """One line a source."""
    for source in sources:
        say(str(source))
    if not sources:
        say("no sources")


def print_forgotten(done: Forgotten) -> None:
    """What was removed of which source, by table."""
    would = "would be " if done.dry_run else ""
    for label in done.sources:
        say(f"{label}: {would}forgotten")
    say(
        f"{done.proteins:,} protein records and {done.rejects:,} rejects {would}removed; "
        f"{done.keys:,} proteins are in no other source"
    )
    for space, rows in done.vectors.items():
        say(f"{space}: {rows:,} rows {would}removed")
    if not done.dry_run:
        say("earlier versions, and pins of them, keep these rows until `protea-ray upkeep` removes the versions")


def print_aliases(aliases: Mapping[str, Alias]) -> None:
    """Where every alias points."""
    for name, found in sorted(aliases.items()):
        version = "" if found.version is None else f" at version {found.version}"
        say(f"{name}: {found.space}{version}, moved {found.moved_at:%Y-%m-%d %H:%M} UTC by {found.run}")
    if not aliases:
        say("no aliases")


def print_drift(found: Drift) -> None:
    """One row for the sample and one for each length bucket, then what the numbers mean."""
    for name, side in (("A", found.a), ("B", found.b)):
        say(f"{name}: {side.space} at version {side.version} ({side.model}), {side.proteins:,} proteins")
    names = ("residues", "proteins", "cosine, mean", "cosine, 5 % below", f"same of {found.k} neighbours")
    print_table([Column(name, right=True) for name in names], [_cells(row) for row in (found.whole, *found.buckets)])
    say(
        f"{found.whole.proteins:,} of {found.shared:,} proteins that both hold, pooling {found.pooling}; "
        f"unrelated spaces share {found.chance:.1%} of the neighbours. "
        "Cosine tells something only if B's model grew out of A's."
    )
    for note in found.notes:
        say(f"note: {note}")


def _cells(row: Agreement) -> list[str]:
    cosines = ["-" if value is None else f"{value:.4f}" for value in (row.cosine_mean, row.cosine_low)]
    return [row.residues, f"{row.proteins:,}", *cosines, f"{row.overlap:.1%}"]
