"""What `reembed` prints for people: what was verified, what a gate found, and where the alias points now."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import datetime

import typer

from protea_ray.cli.outcome import FAILED, GATE_FAILED
from protea_ray.cli.terminal import Column, print_table, say
from protea_ray.pipeline.gate_figures import GateResult
from protea_ray.pipeline.reembed import Reembedded
from protea_ray.pipeline.watch import Taken

_NUMBERS = ("wanted", "found")


def tell(done: Reembedded) -> None:
    """Print what was verified, what the gate found, and where the alias points now."""
    if done.accepted is not None:
        seen = done.accepted
        print(
            f"verified: {seen.rows:,} rows; {seen.recomputed} proteins embedded again, "
            f"at most {seen.largest_distance:.4f} of a vector's length away"
        )
    if done.gate is not None:
        print_gate(done.gate)
    if done.stays is not None:
        print(f"{done.alias} stays at {done.before or 'nowhere'}: {done.stays}")
    elif done.moved:
        print(f"{done.alias} moved from {done.before or 'nowhere'} to {done.after}")
    else:
        print(f"{done.alias} points to {done.after} already")
    if done.gate is not None and not done.gate.passed:
        store, space = shlex.quote(done.summary.store), done.summary.spaces[0].space
        print(f"the new space is kept; `protea-ray alias {store} {done.alias} {space}` moves the alias all the same")


def print_gate(result: GateResult) -> None:
    """One row for each condition, then what the evaluations noted."""
    columns = [Column(name, right=name in _NUMBERS, text=name == "verdict") for name in result.columns()]
    print_table(columns, result.rows())
    for note in result.notes:
        say(f"note: {note}")
    if result.passed:
        say(result.sentence())


def leave_if_not_passed(result: GateResult | None) -> None:
    """Leave with the exit code of a gate that was not passed."""
    if result is not None and not result.passed:
        raise typer.Exit(GATE_FAILED)


def tell_each(taken: Iterator[Taken], as_json: bool) -> None:
    """Print a line (and a JSON object) for each checkpoint; the exit code is that of what became of the last one."""
    last = None
    for last in taken:
        if last.outcome is not None:
            print(f"{datetime.now():%H:%M:%S} {last.seen.model}")
            tell(last.outcome)
        if as_json:
            facts = last.outcome.to_json() if last.outcome else {"error": str(last.error)}
            print(json.dumps({"checkpoint": last.seen.model, "revision": last.seen.revision, **facts}), flush=True)
    if last is not None and last.error is not None:
        raise typer.Exit(FAILED)
    leave_if_not_passed(last.outcome.gate if last is not None and last.outcome is not None else None)
