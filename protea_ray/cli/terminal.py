"""Tables and lines for people on standard output: as wide as the terminal, as wide as they are in a pipe.

A name or an id is never cut. Where a terminal is too narrow, in this order: the words of a header stand below each
other, columns of lesser interest are left out and named, free text is shortened, and at last each row stands by itself,
a line for each column. In a pipe, and for programs that read it, a row is one line however long, unless COLUMNS says
how wide the reader is. Every cell is data from files and never markup.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from protea_ray.display import GAP, aligned, cells, printable

NARROWEST_TEXT = 24  # columns of free text: less says nothing, and a row by itself is read with more ease
_ELLIPSIS = "..."


@dataclass(frozen=True)
class Column:
    """A column's name; `right`: numbers, aligned right; `keep` False: left out first where a terminal is narrow.

    `text`: free text, such as a description, the only thing that is ever shortened.
    """

    name: str
    right: bool = False
    keep: bool = True
    text: bool = False


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text under their columns."""
    clean = [[_encodable(printable(cell)) for cell in row] for row in rows]
    rule = _encodable("─", otherwise="-") if on_terminal() else ""
    print(*table_lines(columns, clean, _width(), rule), sep="\n", flush=True)


def say(text: str) -> None:
    """Print one line of text: whole in a pipe, wrapped between words on a terminal."""
    line = _encodable(printable(text))
    width = _width() if on_terminal() else None
    print(*([line] if width is None else _wrapped(line, width)), sep="\n", flush=True)


def on_terminal() -> bool:
    """Whether standard output is a person's terminal, not a pipe, a file or a notebook's cell."""
    return sys.stdout.isatty()


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None, rule: str) -> list[str]:
    """The lines of a table that fits `width` columns (None: any width), with a line of `rule` under the header.

    What can not be made to fit without cutting a name is stacked: `name: value`, one line each, rows apart.
    """
    headers = [[column.name] for column in columns]
    widths = _widths(headers, rows)
    if width is None or _total(widths) <= width:
        return _grid(columns, headers, rows, widths, rule)
    headers = [column.name.split(" ") for column in columns]
    widths = _widths(headers, rows)
    kept = _without_lesser(columns, widths, width)
    _shorten(columns, widths, kept, width)
    if rows and _total([widths[i] for i in kept]) > width:
        return _stacked(columns, rows, width)
    lines = [[_short(row[i], widths[i]) for i in kept] for row in rows]
    grid = _grid([columns[i] for i in kept], [headers[i] for i in kept], lines, [widths[i] for i in kept], rule)
    left_out = ", ".join(column.name for i, column in enumerate(columns) if i not in kept)
    return [*grid, *_wrapped(f"columns left out: {left_out}; --json has all", width)] if left_out else grid


def _widths(headers: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> list[int]:
    """Of each column, what its widest cell takes; the lines of a header stand below each other."""
    return [max(map(cells, (*lines, *(row[i] for row in rows)))) for i, lines in enumerate(headers)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _without_lesser(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """The columns that stay: those with `keep` False go, the last first, until the others fit."""
    kept = list(range(len(columns)))
    for i in reversed(range(len(columns))):
        if _total([widths[j] for j in kept]) > width and not columns[i].keep:
            kept.remove(i)
    return kept


def _shorten(columns: Sequence[Column], widths: list[int], kept: Sequence[int], width: int) -> None:
    """Take from the widths of free text what is too much, down to NARROWEST_TEXT."""
    for i in kept:
        too_much = _total([widths[j] for j in kept]) - width
        if too_much > 0 and columns[i].text:
            widths[i] = max(widths[i] - too_much, min(widths[i], NARROWEST_TEXT))


def _short(cell: str, width: int) -> str:
    """A cell that is wider than its column with an ellipsis at the end."""
    if cells(cell) <= width:
        return cell
    from rich.cells import set_cell_size

    return set_cell_size(cell, width - len(_ELLIPSIS)) + _ELLIPSIS


def _grid(
    columns: Sequence[Column],
    headers: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    rule: str,
) -> list[str]:
    """Header, rule and rows; headers of fewer lines than others stand at the bottom."""
    right = [column.right for column in columns]
    upside_down = zip_longest(*(reversed(lines) for lines in headers), fillvalue="")
    head = [aligned(line, widths, right) for line in upside_down][::-1]
    ruled = [GAP.join(rule * width for width in widths)] if rule else []
    return [*head, *ruled, *(aligned(row, widths, right) for row in rows)]


def _stacked(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Each row by itself: a line for each column that says something, free text wrapped, a blank line after it."""
    indent = max(cells(column.name) for column in columns) + len(": ")
    lines: list[str] = []
    for row in rows:
        for column, cell in ((c, text) for c, text in zip(columns, row, strict=True) if text):
            first, *more = _wrapped(cell, max(width - indent, NARROWEST_TEXT)) if column.text else [cell]
            lines.append(f"{column.name}: ".ljust(indent) + first)
            lines += [" " * indent + part for part in more]
        lines.append("")
    return lines


def _wrapped(line: str, width: int) -> list[str]:
    """A line as several, broken between words; a word that is longer than a line stays whole (rich would cut it)."""
    first, *words = line.split(" ")
    lines = [first]
    for word in words:
        if cells(lines[-1]) + 1 + cells(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _width() -> int | None:
    """How many columns a line may have: COLUMNS, else the terminal's; None in a pipe."""
    stated = os.environ.get("COLUMNS", "")
    if stated.isdecimal() and int(stated):
        return int(stated)
    return shutil.get_terminal_size().columns if on_terminal() else None


def _encodable(text: str, otherwise: str | None = None) -> str:
    r"""The text as standard output can write it: a letter that its encoding lacks as \\u86cb, or `otherwise`."""
    encoding = sys.stdout.encoding or "utf-8"
    written = text.encode(encoding, "backslashreplace").decode(encoding)
    return written if written == text or otherwise is None else otherwise
