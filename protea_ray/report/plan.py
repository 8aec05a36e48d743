"""What `--dry-run` prints."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.filesize import decimal
from rich.table import Table

from protea_ray.cli.show import wide_console
from protea_ray.run.dry import Plan
from protea_ray.run.progress import clock_time


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
