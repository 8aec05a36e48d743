"""Records of text files: FASTA, CSV, TSV and JSON lines, each record with its 1-based line.

A record that cannot be parsed becomes a reject, and reading goes on after it. Line ends are LF, CRLF or CR, also mixed.

**FASTA.** A record begins at a `>` at the start of a line. Elsewhere in a header `>` is text, and in a sequence it is
an illegal letter. The id ends at the first white space. The file is split here and not by dnaio, the field's reader,
which reports no line for a good record, cannot go on after a bad one, skips lines that begin with `#`, and holds a
record of any size. The tests use dnaio as the independent reference.

**Tables.** CSV and JSON are read by python's own csv and json and not by Arrow's readers, which fail a whole block on
one bad row, guess types (an id `00123` must stay text) and have no line numbers. A row with the wrong number of
columns, or a line that is not a JSON object, is a reject. Only a quoted field that is not closed stops the file: its
end, and so the number of records behind it, cannot be known.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any, cast

from protea_ray.errors import InputError
from protea_ray.sequences.parts import Columns, Part, Source
from protea_ray.sequences.records import Found, Reason, RejectedError, printable, text_of
from protea_ray.sequences.streams import MAX_RECORD, RawRecord, blocks, pieces, unix_lines


def fasta_records(part: Part) -> Iterator[Found]:
    """Every record of a part in file order.

    Raises InputError when the bytes are not FASTA (text before the first `>`) or do not decompress.
    """
    source = part.source
    end = part.end or None if source.compression == "none" else None  # 0: the end is not known
    # a line end put in front makes the first record begin like any other
    text = unix_lines(blocks(source, part.start, end), lead=b"\n")
    line = part.line - 1
    for number, piece in enumerate(pieces(text, b"\n>")):
        if number:
            yield _record(piece, line)
        else:
            _check_preamble(piece, part)
        line += piece.newlines + 1


def _check_preamble(piece: RawRecord, part: Part) -> None:
    """Only blank lines may come before the first record."""
    if not piece.data.strip():
        return
    if part.start:
        raise InputError(f"{part.source.uri}: changed while it was read (no record at byte {part.start}); start again")
    lines = piece.data.split(b"\n")
    at = next(i for i, line in enumerate(lines) if line.strip())  # lines[0] is what stands before the lead
    raise InputError(
        f"{part.source.uri}:{at}: {printable(lines[at], 60)!r} stands before the first '>'; "
        "a FASTA record begins with '>' at the start of a line, so mend or convert the file"
    )


def _record(piece: RawRecord, line: int) -> Found:
    header, _, letters = piece.data.partition(b"\n")
    name, *rest = header.split(None, 1) or [b""]
    problem = None
    if piece.size > MAX_RECORD:
        letters = b""
        problem = RejectedError(Reason.TOO_LARGE, f"the record has {piece.size} bytes, at most {MAX_RECORD} are read")
    return Found(line, name, rest[0] if rest else b"", letters, problem)


_DELIMITERS = {"csv": ",", "tsv": "\t"}
_BYTES = ("utf-8", "surrogateescape")  # csv works on text; this keeps bytes that are not UTF-8 as they were
_HEAD = 64 << 10  # the block size that is enough for a header


def text_records(part: Part, columns: Columns) -> Iterator[Found]:
    """Every row in file order; raises InputError when a required column is missing or a quote is not closed."""
    return _json_records(part.source, columns) if part.source.format == "jsonl" else _csv_records(part.source, columns)


def text_columns(source: Source) -> list[str]:
    """Column names of a CSV or TSV, keys of the first object of a JSONL; raises InputError if there are none."""
    if source.format == "jsonl":
        return list(_first_object(source))
    return _header(_csv_rows(source, _HEAD))


def _lines(source: Source, size: int) -> Iterator[RawRecord]:
    return pieces(unix_lines(blocks(source, size=size)), b"\n")


def _csv_records(source: Source, columns: Columns) -> Iterator[Found]:
    rows = _csv_rows(source)
    names = _header(rows)
    problems = columns.problems(names)
    if problems:
        raise InputError([f"{source.uri}: {problem}" for problem in problems])
    wanted = [names.index(name) if name in names else None for name in (columns.id, columns.description)]
    sequence = names.index(columns.sequence)
    for line, row in rows:
        if isinstance(row, RejectedError):
            yield Found(line, b"", b"", b"", row)
            continue
        name, about = (b"" if at is None else _cell(row, at) for at in wanted)
        problem = _width_problem(len(row), len(names))
        yield Found(line, name, about, b"" if problem else _cell(row, sequence), problem)


def _header(rows: Iterator[tuple[int, list[str] | RejectedError]]) -> list[str]:
    """The cells of the first row that can be split, none for an empty table; `rows` goes on behind it."""
    for _, row in rows:
        if not isinstance(row, RejectedError):
            return row
    return []


def _width_problem(found: int, wanted: int) -> RejectedError | None:
    if found == wanted:
        return None
    return RejectedError(Reason.MALFORMED_ROW, f"the row has {found} columns, the header {wanted}")


def _cell(row: list[str], at: int) -> bytes:
    return row[at].encode(*_BYTES) if at < len(row) else b""


def _csv_rows(source: Source, size: int = 1 << 20) -> Iterator[tuple[int, list[str] | RejectedError]]:
    """(line, cells) of every row that is not blank, or (line, RejectedError) of a row that cannot be split."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))  # the module's own limit is 131,072
    reader = csv.reader(_csv_lines(source, size), delimiter=_DELIMITERS[source.format], strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num > line:
                raise InputError(
                    f"{source.uri}:{line}: a quoted field begins here and does not end properly ({error}); "
                    "close the quote, or double the quotes inside the field"
                ) from error
            yield line, RejectedError(Reason.MALFORMED_ROW, f"the row cannot be split: {error}")
            continue
        if row:
            yield line, row


def _csv_lines(source: Source, size: int) -> Iterator[str]:
    for number, piece in enumerate(_lines(source, size), 1):
        if piece.size > MAX_RECORD:
            raise InputError(
                f"{source.uri}:{number}: a line of {piece.size} bytes, at most {MAX_RECORD} are read; "
                "FASTA can hold such a record beside others, a text table cannot"
            )
        if piece.data:
            yield piece.data.decode(*_BYTES) + "\n"
        else:
            yield "\n"


def _json_records(source: Source, columns: Columns) -> Iterator[Found]:
    for line, piece in enumerate(_lines(source, 1 << 20), 1):
        if not piece.data.strip():
            continue
        try:
            row = _object(piece)
            yield Found(
                line,
                _json_text(row.get(columns.id), columns.id),
                _json_text(row.get(columns.description), None),
                _json_text(row.get(columns.sequence), columns.sequence),
            )
        except RejectedError as problem:
            yield Found(line, b"", b"", b"", problem)


def _object(piece: RawRecord) -> dict[str, Any]:
    if piece.size > MAX_RECORD:
        raise RejectedError(Reason.TOO_LARGE, f"the line has {piece.size} bytes, at most {MAX_RECORD} are read")
    row: Any
    try:
        row = json.loads(text_of(piece.data))
    except (ValueError, RecursionError) as error:
        raise RejectedError(Reason.MALFORMED_ROW, f"not JSON: {str(error)[:200]}") from error
    if not isinstance(row, dict):
        raise RejectedError(Reason.MALFORMED_ROW, f"a JSON {type(row).__name__}, not an object")
    return cast("dict[str, Any]", row)


def _json_text(value: Any, required: str | None) -> bytes:
    """Text or a whole number as bytes, null as b"". Raises RejectedError for other values of a required column."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or isinstance(value, str):
        return (value or "").encode("utf-8", "surrogatepass")
    if required is None:
        return b""
    raise RejectedError(Reason.MALFORMED_ROW, f"{required!r} is a JSON {type(value).__name__}, not text")


def _first_object(source: Source) -> dict[str, Any]:
    for line, piece in enumerate(_lines(source, _HEAD), 1):
        if piece.data.strip():
            try:
                return _object(piece)
            except RejectedError as error:
                raise InputError(
                    f"{source.uri}:{line}: {error.detail}; JSON lines hold one whole object a line, so convert the file"
                ) from error
    return {}


_LETTERS_A_LINE = 60


def fasta_text(id: str, description: str, letters: str) -> str:
    """One FASTA record, 60 letters a line. White space of any kind in the header becomes one space."""
    lines = [letters[at : at + _LETTERS_A_LINE] for at in range(0, len(letters), _LETTERS_A_LINE)]
    header = " ".join(f"{id} {description}".split())  # a line end inside an id must not start a record
    return "\n".join([f">{header}", *lines, ""])
