"""FASTA records of one part, each with its 1-based line, never stopping at a bad one.

Split here rather than by dnaio, the field's reader: it reports no line for a good record, cannot go on after a bad
one, skips lines that begin with `#`, and holds a record of any size. The tests use it as the independent reference.

A record begins at a `>` at the start of a line; `>` anywhere else in a header is text, in a sequence an illegal
letter. Line ends are LF, CRLF or CR, also mixed. The id ends at the first white space.
"""

from __future__ import annotations

from collections.abc import Iterator

from protea_ray.errors import InputError
from protea_ray.sequences.parts import Part
from protea_ray.sequences.records import Found, Reason, RejectedError, printable
from protea_ray.sequences.streams import MAX_RECORD, Piece, blocks, pieces, unix_lines


def fasta_records(part: Part) -> Iterator[Found]:
    """Every record of a part in file order.

    Raises InputError when the bytes are not FASTA (text before the first `>`) or do not decompress.
    """
    source = part.source
    end = part.end if source.compression == "none" else None
    # with a line end in front the first record is found like any other
    text = unix_lines(blocks(source, part.start, end), lead=b"\n")
    line = part.line - 1
    for number, piece in enumerate(pieces(text, b"\n>")):
        if number:
            yield _record(piece, line)
        else:
            _check_preamble(piece, part)
        line += piece.newlines + 1


def _check_preamble(piece: Piece, part: Part) -> None:
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


def _record(piece: Piece, line: int) -> Found:
    header, _, letters = piece.data.partition(b"\n")
    name, *rest = header.split(None, 1) or [b""]
    problem = None
    if piece.size > MAX_RECORD:
        letters = b""
        problem = RejectedError(Reason.TOO_LARGE, f"the record has {piece.size} bytes, at most {MAX_RECORD} are read")
    return Found(line, name, rest[0] if rest else b"", letters, problem)
