"""Tables and lists for people who look at a result in a terminal or a notebook.

Every cell is data: it may come from a file that somebody else wrote, so HTML is escaped and control characters are
replaced. Names are never cut: whoever prints a table for a narrow terminal decides what to leave out
(`protea_ray/cli/terminal.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

GAP = "  "  # between two columns
_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?( ?%| [kMGT]?B| bytes)?|-")


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text, columns two spaces apart, numbers to the right, every cell whole."""
    lines = [[printable(cell) for cell in row] for row in rows]
    right = [bool(lines) and all(_NUMBER.fullmatch(line[i]) for line in lines) for i in range(len(header))]
    widths = [max(map(cells, (name, *(line[i] for line in lines)))) for i, name in enumerate(header)]
    return "\n".join(aligned(line, widths, right) for line in (header, *lines))


def aligned(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    """One line of a table: each cell in its width, to the left or right, without blanks at the end."""
    filled = zip(line, widths, right, strict=True)
    return GAP.join(_fill(width - cells(cell), cell, to_right) for cell, width, to_right in filled).rstrip()


def _fill(blanks: int, cell: str, to_right: bool) -> str:
    return " " * blanks + cell if to_right else cell + " " * blanks


def cells(text: str) -> int:
    """How many columns of a terminal a text takes: an East Asian letter two, a combining mark none.

    >>> cells("P12345"), cells("\u86cb\u767d"), cells("e\u0301")
    (6, 4, 1)
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # 10 ms, and few tables need it

    return cell_len(text)


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same table as HTML, cells whole and escaped, `caption` above it."""
    head = "".join(f"<th>{_html(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{_html(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""The same table as Markdown, cells whole, bars and line breaks in them made harmless.

    >>> print(markdown_table(("field", "value"), [("a|b", "1")]))
    | field | value |
    | --- | --- |
    | a\|b | 1 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(printable(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def record_text(title: str, values: Mapping[str, Any]) -> str:
    """A result as a notebook shows it: a line for each value that says something, numbers with separators.

    >>> print(record_text("Forgotten", {"proteins": 1200, "sources": ("a.fasta", "b.fasta"), "vectors": {}}))
    Forgotten
      proteins: 1,200
      sources:  a.fasta, b.fasta
    """
    said = {name: text for name, value in values.items() if (text := _said(value))}
    indent = max(map(len, said), default=0) + 2
    lines = [f"  {f'{name}: ':<{indent}}" + text.replace("\n", f"\n  {' ' * indent}") for name, text in said.items()]
    return "\n".join([title, *lines])


def _said(value: Any) -> str:
    """One value as text; empty for None and for what is empty."""
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(str(name))} {_said(of_it)}" for name, of_it in value.items())
    if isinstance(value, tuple | list):
        return first_of([printable(_said(one)) for one in value])
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)


def first_of(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are.

    >>> first_of(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def clock_time(seconds: float) -> str:
    """Seconds as a clock shows them.

    >>> clock_time(75), clock_time(4000)
    ('1:15', '1:06:40')
    """
    minutes, secs = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def _html(cell: str) -> str:
    return escape(printable(cell))


def printable(cell: str) -> str:
    """The text with control characters replaced: an id or path may come from a file that somebody else wrote."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cell)
