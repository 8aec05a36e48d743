"""What embed, reembed and their dry run print for people: the accounting, the plan."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.filesize import decimal

from protea_ray.cli.tables import Column, print_table, say
from protea_ray.display import clock_time
from protea_ray.pipeline import accounting
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.dry_run import DryRun


def print_plan(plan: DryRun, as_json: bool) -> None:
    """One row a space, then the prediction; with `as_json` the last line is one JSON object."""
    names = ("to embed", "residues", "windows", "on disk", "already present", "duplicate", "rejected")
    rows: list[tuple[str, ...]] = []
    for space in plan.spaces:
        numbers = (space.proteins, space.residues, space.windows)
        rest = (space.already_present, space.duplicate, space.rejected)
        rows.append((space.space, *(f"{n:,}" for n in numbers), decimal(space.bytes), *(f"{n:,}" for n in rest)))
    lesser = ("windows", "on disk")
    columns = [Column(name, right=True, keep=name not in lesser) for name in names]
    print_table([Column("space"), *columns], rows)
    say(
        f"{plan.records:,} records read; about {clock_time(plan.seconds)} of embedding on {plan.actors} "
        f"{plan.device} actor(s), after {clock_time(plan.startup_seconds)} of start-up. Nothing was written."
    )
    if as_json:
        print(json.dumps({"in": plan.records, "dry_run": True, **asdict(plan)}))


def print_summary(summary: Summary) -> None:
    """The accounting of every space, then rate and place, on standard output."""
    space, *counts = accounting.SPACE_COLUMNS
    print_table([Column(space), *(Column(name, right=True) for name in counts)], summary.space_rows())
    say("in = stored + duplicate + rejected + already present: checked")
    if summary.embed_seconds:
        rate = summary.residues / summary.embed_seconds
        say(
            f"{summary.residues:,} residues in {summary.embed_seconds:.1f} s on {summary.actors} {summary.device} "
            f"actor(s): {rate:,.0f} residues/s"
        )
        say(
            f"start-up {summary.startup_seconds:.1f} s from the command to the first forward pass, "
            f"{summary.load_seconds:.1f} s of it to load an encoder"
        )
    for note in summary.current_notes:
        say(note)
    say(f"store: {summary.store}")
