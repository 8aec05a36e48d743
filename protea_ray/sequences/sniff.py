"""What a file is, from its first bytes. Names only break ties between text tables.

Magic bytes decide the binary formats and the compression; the first visible character decides FASTA (`>`) and JSONL
(`{`); a text whose first lines split into the same number of columns, two or more, is a CSV or TSV table.
"""

from __future__ import annotations

import csv

from protea_ray.sequences.records import printable
from protea_ray.sequences.streams import BOM

HEAD = 64 << 10  # bytes looked at
COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_SUFFIXES = (".gz", ".bgz", ".bz2", ".xz", ".zst")
_NAMES = (".fasta", ".fa", ".faa", ".fas", ".fsa", ".pep", ".a3m", ".a2m", ".afa")
_NAMES += (".parquet", ".arrow", ".feather", ".csv", ".tsv", ".jsonl", ".ndjson")
_BINARY = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),  # an Arrow stream (what `datasets` writes) opens with a continuation marker
)
_FOREIGN = (
    (b"FEA1", "is a Feather version 1 file; write it again with pyarrow.feather.write_feather"),
    (b"PK\x03\x04", "is a zip archive; unpack it, or name the member as zip://NAME::ARCHIVE"),
    (b"\xff\xfe", "is UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text; save it as UTF-8"),
    (b"<", "is a web page or XML, not sequences; check the address it was downloaded from"),
    (b"@", "looks like FASTQ; convert it to FASTA"),
    (b"LOCUS ", "looks like GenBank; convert it to FASTA"),
    (b"ID   ", "looks like an EMBL or Swiss-Prot flat file; convert it to FASTA"),
    (b"# STOCKHOLM", "looks like a Stockholm alignment; convert it to FASTA"),
    (b"[{", "looks like one JSON array; write one object per line (JSONL)"),
)


class NotSequencesError(Exception):
    """A file that holds no format this package reads. The text is the second half of a sentence."""


def compression_of(head: bytes) -> str:
    """The name of the compression that the first bytes announce, or none."""
    return next((name for magic, name in COMPRESSIONS if head.startswith(magic)), "none")


def has_sequence_name(path: str) -> bool:
    """Whether a file name promises sequences, whatever is inside."""
    return plain_name(path).endswith(_NAMES)


def plain_name(path: str) -> str:
    """The lower-case name without its compression suffix."""
    name = path.lower()
    return next((name.removesuffix(s) for s in _SUFFIXES if name.endswith(s)), name)


def format_of(head: bytes, path: str) -> str:
    """The format of a file from its first decompressed bytes; raises NotSequencesError in words."""
    for magic, name in _BINARY:
        if head.startswith(magic):
            return name
    text = head.removeprefix(BOM).lstrip()
    if not text:
        raise NotSequencesError("is empty")
    if text.startswith((b">", b"{")):
        return "fasta" if text.startswith(b">") else "jsonl"
    named = plain_name(path)
    if named.endswith((".csv", ".tsv")):
        return named[-3:]
    # an array is often spread over lines
    joined = b"".join(text[:64].split(None, 1)) if text.startswith(b"[") else text
    for magic, words in _FOREIGN:
        if joined.startswith(magic):
            raise NotSequencesError(words)
    if b"\x00" in text:
        raise NotSequencesError("is binary data of a kind that is not read here")
    return _table_format(text, whole=len(head) < HEAD)


def _table_format(text: bytes, *, whole: bool) -> str:
    """csv or tsv when the first lines agree on two or more columns, else NotSequencesError."""
    lines = [line for line in text.decode("latin-1").splitlines() if line.strip()][:6]
    if not whole and len(lines) < 6:
        lines = lines[:-1] or lines  # the last one may be cut
    for delimiter, name in (("\t", "tsv"), (",", "csv")):
        widths = {len(row) for row in csv.reader(lines, delimiter=delimiter)}
        if len(widths) == 1 and max(widths) > 1:
            return name
    shown = printable(text.splitlines()[0], 60)
    raise NotSequencesError(f"looks like plain text, not sequences: FASTA begins with '>', its first line is {shown!r}")
