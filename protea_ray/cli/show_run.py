"""What embed, reembed and their dry run print for people: the accounting, the plan."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict

from rich.filesize import decimal

from protea_ray.cli.terminal import Column, print_table, say
from protea_ray.display import clock_time
from protea_ray.pipeline import accounting
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.dry_run import DryRun
from protea_ray.pipeline.stages import MEANINGS

_REASONS = 4  # in a summary, the most frequent first


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
    say(f"{plan.records:,} records read. {foretold(plan)} Nothing was written.")
    if as_json:
        print(json.dumps({"in": plan.records, "dry_run": True, **asdict(plan)}))


def foretold(plan: DryRun) -> str:
    """What the run would take, what that is known from, and how wrong it may be."""
    if not plan.seconds:
        return f"Nothing to embed: about {clock_time(plan.startup_seconds)} of start-up."
    timed = "by an earlier run" if plan.remembered else "just now"
    return (
        f"About {clock_time(plan.startup_seconds)} of start-up, then about {clock_time(plan.seconds)} of embedding on "
        f"{plan.actors} {plan.device} actor(s). The model was timed here {timed}: on a machine that does other work "
        "as well both take several times as long."
    )


def print_summary(summary: Summary) -> None:
    """The accounting of every space; what it holds, what was rejected and why, where `current` points; what it took."""
    space, *counts = accounting.SPACE_COLUMNS
    print_table([Column(space), *(Column(name, right=True) for name in counts)], summary.space_rows())
    say("in = stored + duplicate + rejected + already present: checked")
    for recipe in dict.fromkeys(summary.recipes):
        say(f"model: {summary.model}{'' if summary.trained else ' (untrained)'}, {recipe}")
    for line in rejected_lines(summary):
        say(line)
    say(f"store: {summary.store}")
    for note in summary.current_notes:
        say(note)
    say(took(summary))


def print_timings(summary: Summary) -> None:
    """The stages of the run in order: when each began, how long it took, what it is; below, the first vector."""
    rows = [(s.name, f"{s.begins:.2f} s", f"{s.seconds:.2f} s", MEANINGS[s.name]) for s in summary.stages]
    columns = [Column("stage"), Column("begins", right=True), Column("takes", right=True), Column("what", keep=False)]
    print_table(columns, rows)
    if summary.first_vector_seconds is not None:
        say(f"first vector after {summary.first_vector_seconds:.2f} s, end after {summary.seconds:.2f} s")


def rejected_lines(summary: Summary) -> list[str]:
    """Reasons with their counts and the first place of each, then the command that shows all; nothing for none."""
    if not summary.rejected:
        return []
    earlier = summary.rejected - sum(reason.rejects for reason in summary.reasons)
    reasons = [str(reason) for reason in summary.reasons[:_REASONS]]
    more = len(summary.reasons) - _REASONS
    reasons += [f"{more} other reason(s)"] if more > 0 else []
    reasons += [f"{earlier:,} by earlier runs"] if earlier > 0 else []
    return [
        f"rejected: {', '.join(reasons)}",
        f"all of them: protea-ray rejects {shlex.quote(summary.store)}",
    ]


def took(summary: Summary) -> str:
    """Rate, start-up and total time in one line."""
    if not summary.embed_seconds:
        return f"nothing had to be embedded; {summary.seconds:.1f} s in total"
    rate = summary.residues / summary.embed_seconds
    return (
        f"{summary.residues:,} residues at {rate:,.0f} residues/s on {summary.actors} {summary.device} actor(s); "
        f"start-up {summary.startup_seconds:.1f} s, embedding {summary.embed_seconds:.1f} s, "
        f"in total {summary.seconds:.1f} s"
    )
