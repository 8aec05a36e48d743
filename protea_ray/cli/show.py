"""What forget and drift print for people."""

from __future__ import annotations

from collections.abc import Sequence

from protea_ray.cli.terminal import Column, print_table, say
from protea_ray.query.drift import Drift
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


def print_drift(found: Drift) -> None:
    """One row for the sample and one for each length bucket, then what the numbers mean."""
    for side in found.sides():
        say(side)
    print_table([Column(name, right=True) for name in found.columns()], found.rows())
    for fact in found.facts():
        say(fact)
