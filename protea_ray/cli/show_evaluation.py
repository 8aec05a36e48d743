"""What evaluate prints for people: its tables, what one needs to read them, and what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from protea_ray.cli.terminal import Column, print_table, say
from protea_ray.evaluate.report import NOT_DRAWN, PAGE, EvaluationTables
from protea_ray.evaluate.tables.shown import ShownTable
from protea_ray.pictures.style import drawable

_NAMES = {
    "task",
    "metric",
    "input",
    "model",
    "probe",
    "minus",
    "to",
    "mark",
    "space",
    "range",
    "the first is",
    "a",
    "residues",
}


def print_evaluation(results: pa.Table, notes: Sequence[str]) -> None:
    """Every table that has rows, of the first probe where there is one for each; then the notes."""
    tables = EvaluationTables.make(results)
    for table in tables.of(tables.found.probes[:1]):
        print_shown(table)
    if not results.num_rows:
        say("no results")
    for note in notes:
        say(f"note: {note}")


def print_shown(table: ShownTable) -> None:
    """A table under its title, and the sentences under it."""
    lesser = table.lesser()
    say(table.title)
    columns = [Column(name, right=name not in _NAMES, keep=name not in lesser) for name in table.columns()]
    print_table(columns, table.rows())
    for fact in table.facts():
        say(fact)
    say("")


def print_written(paths: Sequence[Path]) -> None:
    """The files of a report and of outcomes, and why there are no pictures where there are none."""
    say(f"written: {', '.join(map(str, paths))}")
    if not drawable() and any(path.name == PAGE for path in paths):
        say(NOT_DRAWN)
