"""Records of text files: FASTA, CSV, TSV and JSON lines, each record with its 1-based line.

A record that cannot be parsed becomes a reject, and reading goes on after it. Line ends are LF, CRLF or CR, also mixed.

**FASTA.** A record begins at a `>` at the start of a line. Elsewhere in a header `>` is text, and in a sequence it is
an illegal letter. The id ends at the first white space. The file is split here and not by dnaio, the field's reader,
which reports no line for a good record, cannot go on after a bad one, and holds a record of any size. The tests use
dnaio as the independent reference.

A line that begins with `;` is a comment (Pearson's FASTA) and is skipped anywhere; it counts as a line. This is safe:
`;` is no letter, so what is skipped was never residues. Lines with `#` or `!`, which no definition of FASTA knows, are
skipped before the first record only. Inside a record they may mark anything, such as the end of a file that was
appended to, so the record is a reject that names the line.

A record whose header is PIR's, or that of a line of states in an alignment or in the PDB's ss.txt, is a reject although
all of its letters are legal; so is one whose first line is words and not residues: a header that goes on there.

**Tables.** CSV and JSON are read by python's own csv and json and not by Arrow's readers, which fail a whole block on
one bad row, guess types (an id `00123` must stay text) and have no line numbers. A row with the wrong number of
columns, or a line that is not one JSON object, is a reject. What a quote means is for `sequences.rows`: only where it
cannot be known which lines are records, the file stops.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from protea_ray.errors import InputError
from protea_ray.sequences.formats import is_pir
from protea_ray.sequences.parts import Columns, Part, Source
from protea_ray.sequences.records import Found, Reason, RejectedError, printable, text_of
from protea_ray.sequences.rows import BYTES, header_of, read_rows, width_problem
from protea_ray.sequences.streams import MAX_RECORD, RawRecord, blocks, pieces, unix_lines

_COMMENT = re.compile(rb"^;.*", re.MULTILINE)  # its line end stays, so that lines are counted as they stand
_MARKED = re.compile(rb"^[#!].*", re.MULTILINE)
_STATES = re.compile(rb"s[as]_(?:dssp|pred|conf)\b|\S*:secstr\s*$")  # HH-suite's alignments; the PDB's ss.txt
_RESIDUES = re.compile(rb"(?<!\S)[ACDEFGHIKLMNPQRSTVWXY]{10,}\*?\s*$")  # the last word of a header


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
    """Only blank lines and comments may come before the first record."""
    lines = _MARKED.sub(b"", _COMMENT.sub(b"", piece.data)).split(b"\n")
    if not any(line.strip() for line in lines):
        return
    if part.start:
        raise InputError(f"{part.source.name}: changed while it was read (no record at byte {part.start}); start again")
    at = next(i for i, line in enumerate(lines) if line.strip())  # lines[0] is what stands before the lead
    raise InputError(
        f"{part.source.name}:{at}: {printable(lines[at], 60)!r} stands before the first '>'; "
        "a FASTA record begins with '>' at the start of a line, so mend or convert the file"
    )


def _record(piece: RawRecord, line: int) -> Found:
    header, _, letters = piece.data.partition(b"\n")
    name, *rest = header.split(None, 1) or [b""]
    letters = _COMMENT.sub(b"", letters) if b";" in letters else letters
    problem = _problem(header, letters)
    if piece.size > MAX_RECORD:
        problem = RejectedError(Reason.TOO_LARGE, f"the record has {piece.size} bytes, at most {MAX_RECORD} are read")
    return Found(line, name, rest[0] if rest else b"", b"" if problem else letters, problem)


def _problem(header: bytes, letters: bytes) -> RejectedError | None:
    """Why the letters below a header are not the residues of a protein, although each of them may be legal."""
    if is_pir(header):
        return RejectedError(Reason.MALFORMED_ROW, "a header of PIR (NBRF), after which a title follows; convert it")
    if _STATES.match(header):
        return RejectedError(Reason.MALFORMED_ROW, "secondary structure or another line of states, not residues")
    # the regular expressions cost as much as all else, so `in` looks first
    if (b"#" in letters or b"!" in letters) and (marked := _MARKED.search(letters)):
        what = f"the line {printable(marked[0], 60)!r}; in a record of FASTA only ';' begins a comment, so remove it"
        return RejectedError(Reason.ILLEGAL_LETTER, what)
    if b" " in letters and (words := _words(letters)):
        what = f"{printable(words, 60)!r} stands where residues begin; a header must stand on one line"
        return RejectedError(Reason.MALFORMED_ROW, what)
    if (not letters or letters.isspace()) and (residues := _RESIDUES.search(header)):
        what = f"no residues; the header ends in {printable(residues[0], 30)!r}: put letters on lines of their own"
        return RejectedError(Reason.EMPTY_SEQUENCE, what)
    return None


def _words(letters: bytes) -> bytes | None:
    """The first line where it is words of several lengths and the last line is not, else None.

    Blocks of residues have one length, but for the last one in a line, which may be shorter.
    """
    first, _, more = letters.strip().partition(b"\n")
    words = first.split()
    size = len(words[0]) if words else 0
    in_blocks = all(len(word) == size for word in words[:-1]) and (not words or len(words[-1]) <= size)
    return None if in_blocks or not more or b" " in more.rpartition(b"\n")[2] else first


_HEAD = 64 << 10  # the block size that is enough for a header


def text_records(part: Part, columns: Columns) -> Iterator[Found]:
    """Every row in file order; raises InputError when a required column is missing or a quote is not closed."""
    return _json_records(part.source, columns) if part.source.format == "jsonl" else _csv_records(part.source, columns)


def text_columns(source: Source) -> list[str]:
    """Column names of a CSV or TSV, keys of the first object of a JSONL; raises InputError if there are none."""
    if source.format == "jsonl":
        return list(_first_object(source))
    return header_of(read_rows(blocks(source, size=_HEAD), source.format, source.name), source.name)


def _csv_records(source: Source, columns: Columns) -> Iterator[Found]:
    rows = read_rows(blocks(source, size=1 << 20), source.format, source.name)
    names = header_of(rows, source.name)
    problems = columns.problems(names)
    if problems:
        raise InputError([f"{source.name}: {problem}" for problem in problems])
    wanted = [names.index(name) if name in names else None for name in (columns.id, columns.description)]
    sequence = names.index(columns.sequence)
    for row in rows:
        name, about = (b"" if at is None else _cell(row.cells, at) for at in wanted)
        problem = width_problem(row, len(names))
        yield Found(row.line, name, about, b"" if problem else _cell(row.cells, sequence), problem)


def _cell(row: list[str], at: int) -> bytes:
    return row[at].encode(*BYTES) if at < len(row) else b""


def _lines(source: Source, size: int) -> Iterator[RawRecord]:
    return pieces(unix_lines(blocks(source, size=size)), b"\n")


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
        row = json.loads(text_of(piece.data), object_pairs_hook=_object_once)
    except (ValueError, RecursionError) as error:
        several = ": more than one value on the line" if "Extra data" in str(error) else ""
        raise RejectedError(Reason.MALFORMED_ROW, f"not JSON{several}: {str(error)[:200]}") from error
    if not isinstance(row, dict):
        raise RejectedError(Reason.MALFORMED_ROW, f"a JSON {type(row).__name__}, not an object")
    return cast("dict[str, Any]", row)


def _object_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; raises ValueError for a key that it has twice, of which JSON readers keep one without a word."""
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in an object")
    return row


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
                cure = "JSON lines hold one whole object a line, so convert the file"
                raise InputError(f"{source.name}:{line}: {error.detail}; {cure}") from error
    return {}


def fasta_text(id: str, description: str, letters: str, width: int | None = None) -> str:
    """One FASTA record, `width` letters a line, or all on one, which readers that know no second line need.

    White space of any kind in the header becomes one space.
    """
    step = width or len(letters) or 1
    lines = [letters[at : at + step] for at in range(0, len(letters), step)]
    header = " ".join(f"{id} {description}".split())  # a line end inside an id must not start a record
    return "\n".join([f">{header}", *lines, ""])
