"""Rows of CSV and TSV: where a row ends, and whether a `"` is a quote or a character of the text.

A quoted field may hold delimiters and line ends, and a lone `"` in a name looks like the start of one: believed, it
takes in the rows up to the next `"`, and a protein gets another one's sequence. So a quote is a quote only where the
file's own lines agree. A line is *whole* when its delimiters alone give it the header's number of columns.

* A field that begins with `"` and ends with `"` before a delimiter or the line's end is unquoted, and `""` in it
  becomes `"`. A `"` elsewhere in a field is a character.
* TSV, whose writers in biology do not quote. Of a line with a delimiter between quotes, that reading counts which has
  the header's number of columns. A quote that is not closed in its line takes in further lines only if it is closed
  right before a delimiter or a line end, the row then has the header's number of columns, and the quotes hold no
  delimiter or none of the lines is whole. Where all of them are whole they are rows, and so is a line whose quote is
  never closed like this; the quote is a character. What is left is in doubt and stops the file.
* CSV, whose standard (RFC 4180) quotes. A quoted field may take in lines, but two whole ones stop the file, and so does
  a quote that is not closed. A line in which a quote is closed before another character is a reject.

The rows that are read are therefore never fewer than the whole lines of the file. Memory: one row of at most
`MAX_RECORD` bytes; a line that was looked at in vain is read once more.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from protea_ray.errors import InputError
from protea_ray.sequences.records import MAX_RECORD, Reason, RejectedError
from protea_ray.sequences.streams import pieces, unix_lines

DELIMITERS = {"csv": ",", "tsv": "\t"}
BYTES = ("utf-8", "surrogateescape")  # csv works on text; this keeps bytes that are not UTF-8 as they were
_WHOLE_LINES = 2  # in one quoted field: not believed
_LINE = 100  # bytes that a line takes in memory besides its text


class TableRow(NamedTuple):
    """The cells of a row that begins at `line` (1-based), or why it has none."""

    line: int
    cells: list[str]
    problem: RejectedError | None = None


def read_rows(raw: Iterable[bytes], format: str, name: str) -> Iterator[TableRow]:
    """Every row that is not blank, the header first. `format` is csv or tsv, `name` the file in messages.

    Raises InputError, with the line, for a header that cannot be split, and where rows cannot be told apart.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))  # the module's own limit is 131,072
    return _Rows(_lines(raw, name), format, name)


def header_of(rows: Iterator[TableRow], name: str) -> list[str]:
    """The column names, none for an empty table; `rows` goes on behind them. Raises InputError for a comment line."""
    row = next(rows, None)
    if row is None:
        return []
    if row.problem:
        raise InputError(f"{name}:{row.line}: the names of the columns cannot be read: {row.problem.detail}")
    if len(row.cells) == 1 and row.cells[0].startswith(("#", ";", "!")):
        raise InputError(
            f"{name}:{row.line}: a comment line stands where the names of the columns are wanted; remove the comment "
            "lines, so that the table begins with its header"
        )
    return row.cells


def width_problem(row: TableRow, wanted: int) -> RejectedError | None:
    """Why a row cannot be used: it could not be split, or has more or fewer columns than the header."""
    if row.problem or len(row.cells) == wanted:
        return row.problem
    return RejectedError(Reason.MALFORMED_ROW, f"the row has {len(row.cells)} columns, the header {wanted}")


def _lines(raw: Iterable[bytes], name: str) -> Iterator[str]:
    for number, piece in enumerate(pieces(unix_lines(raw), b"\n"), 1):
        if piece.size > MAX_RECORD:
            raise InputError(
                f"{name}:{number}: a line of {piece.size} bytes, at most {MAX_RECORD} are read; "
                "FASTA can hold such a record beside others, a text table cannot"
            )
        yield piece.data.decode(*BYTES)


class _Rows:
    """Iterates over rows; `_ahead` holds lines that were looked at and not used."""

    def __init__(self, lines: Iterator[str], format: str, name: str) -> None:
        self._numbered = enumerate(lines, 1)
        self._ahead: deque[tuple[int, str]] = deque()
        self._delimiter, self._quotes, self._name = DELIMITERS[format], format == "csv", name
        self._width = 0  # columns of the header, 0 before it
        self._taken: list[tuple[int, str]] = []  # the lines of the row in work
        self._open = False  # whether its first line leaves a quote open

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> TableRow:
        while True:
            line, text = self._ahead.popleft() if self._ahead else next(self._numbered)
            if text:
                break
        row = self._with_quotes(line, text) if '"' in text else TableRow(line, text.split(self._delimiter))
        self._width = self._width or len(row.cells)
        return row

    def _with_quotes(self, line: int, text: str) -> TableRow:
        self._taken, self._open = [], False
        reader = csv.reader(self._offered(line, text), delimiter=self._delimiter, strict=True)
        try:
            cells, problem = next(reader), ""
        except csv.Error as error:
            cells, problem = None, str(error)
        if self._open:
            return self._quoted_over_lines(cells) if self._quotes else self._over_lines(cells)
        if self._quotes:
            fault = RejectedError(Reason.MALFORMED_ROW, f"the row cannot be split: {problem}")
            return TableRow(line, [], fault) if cells is None else TableRow(line, cells)
        plain = self._plain(text)
        return TableRow(line, plain if cells is None or (self._is_whole(text) and len(cells) != self._width) else cells)

    def _offered(self, line: int, text: str) -> Iterator[str]:
        """The line, then those that follow, which the csv module asks for while a quote is open."""
        self._taken.append((line, text))
        yield text + "\n"
        self._open = True
        held, whole = len(text), int(self._is_whole(text))
        while whole < _WHOLE_LINES and held <= MAX_RECORD and (self._width or self._quotes):
            following = self._ahead.popleft() if self._ahead else next(self._numbered, None)
            if following is None:
                return
            self._taken.append(following)
            held += len(following[1]) + _LINE
            whole += self._is_whole(following[1])
            yield following[1] + "\n"

    def _is_whole(self, text: str) -> bool:
        return text.count(self._delimiter) + 1 == self._width

    def _quoted_over_lines(self, cells: list[str] | None) -> TableRow:
        """A row of a CSV over several lines; raises InputError when its lines are rows by themselves."""
        line, whole = self._taken[0][0], [number for number, text in self._taken if self._is_whole(text)]
        if cells is not None and len(whole) < _WHOLE_LINES:
            return TableRow(line, cells)
        if len(whole) >= _WHOLE_LINES:
            what = f"takes in line {whole[-1]}, which has all {self._width} columns by itself"
        else:
            what = f"does not end properly up to line {self._taken[-1][0]}"
        raise InputError(
            f"{self._name}:{line}: a quoted field begins here and {what}. If the quote is a character of the text, put "
            'the field in quotes and double those inside ("the ""name"""); else close the quote, or write the field '
            "without line ends"
        )

    def _over_lines(self, cells: list[str] | None) -> TableRow:
        """A row of a TSV whose quote is not closed in its line; raises InputError where either reading may be wrong."""
        (line, text), last = self._taken[0], self._taken[-1][0]
        whole = [number for number, each in self._taken if self._is_whole(each)]
        all_whole = len(whole) == len(self._taken)
        delimiters = sum(each.count(self._delimiter) for _, each in self._taken)
        if cells is not None and len(cells) == self._width and not all_whole:
            if delimiters == self._width - 1 or not whole:
                return TableRow(line, cells)
            raise InputError(
                f"{self._name}:{line}: a quote begins here that is closed in line {last}, but line {whole[0]} has all "
                f"{self._width} columns by itself. Remove the quotes, or write line ends inside a field as spaces"
            )
        self._ahead.extendleft(reversed(self._taken[1:]))
        return TableRow(line, self._plain(text))

    def _plain(self, text: str) -> list[str]:
        """The cells between delimiters, unquoted where a cell is quoted as a whole."""
        return [self._unquoted(cell) for cell in text.split(self._delimiter)]

    def _unquoted(self, cell: str) -> str:
        if not cell.startswith('"'):
            return cell
        try:
            return next(csv.reader([cell], delimiter=self._delimiter, strict=True))[0]
        except csv.Error:
            return cell
