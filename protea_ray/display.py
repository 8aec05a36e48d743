"""Tables and lists for people who look at a result in a terminal or a notebook, without a library.

Every cell is data: it may come from a file that somebody else wrote, so HTML is escaped and control characters are
replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_WIDEST_CELL = 48  # characters: a table of five columns still fits a terminal of 160


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text, columns two spaces apart, cells of more than 48 characters cut."""
    lines = [[_cut(printable(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same table as HTML, cells whole and escaped, `caption` above it."""
    head = "".join(f"<th>{_html(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{_html(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


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


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDEST_CELL else cell[: _WIDEST_CELL - 3] + "..."
