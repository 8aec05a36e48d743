"""Tables for people on standard output, as wide as the terminal, or 160 columns where there is none.

Every cell is data from files and never markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from protea_ray.display import printable

WIDE = 160  # columns where there is no terminal to ask: 80 would cut the names of spaces in logs


@dataclass(frozen=True)
class Column:
    """A column's name; `right`: numbers, aligned right; `keep` False: left out first where a terminal is narrow."""

    name: str
    right: bool = False
    keep: bool = True


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text under their columns."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    table = Table()
    for column in columns:
        table.add_column(column.name, justify="right" if column.right else "left")
    for row in rows:
        table.add_row(*(printable(cell).replace("[", r"\[") for cell in row))
    console.print(table)


def say(text: str) -> None:
    """Print one line of text as it is, however wide the terminal is."""
    print(printable(text), flush=True)
