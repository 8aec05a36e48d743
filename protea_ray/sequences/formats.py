"""The format of a file from its first bytes, and for a file that is not read here what it is and the way out.

Magic bytes decide the binary formats and the compression, whatever the name. The first visible character decides FASTA
(`>`, after comment lines) and JSONL (`{`). A text whose first lines split into the same number of columns, two or more,
is a CSV or TSV table; between these two a file name decides.

Some formats share FASTA's first character. PIR puts a title, whose letters look like residues, on the line after the
header, so such a file is refused; `is_pir` says how it is told from FASTA.
"""

from __future__ import annotations

import csv
import logging
import re

from protea_ray.sequences.records import printable
from protea_ray.sequences.streams import BOM, TAR_SUFFIXES

HEAD = 64 << 10  # bytes looked at
COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_SUFFIXES = (".gz", ".bgz", ".bz2", ".xz", ".zst")
_FASTA_NAMES = (".fasta", ".fa", ".faa", ".fas", ".fsa", ".pep", ".a3m", ".a2m", ".afa")
_NAMES = (*_FASTA_NAMES, ".parquet", ".arrow", ".feather", ".csv", ".tsv", ".jsonl", ".ndjson")
_BINARY = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),  # an Arrow stream (what `datasets` writes) opens with a continuation marker
)
_EXPORT = "write its proteins as FASTA or Parquet"
_FOREIGN_BINARY = (
    (b"FEA1", "is a Feather version 1 file; write it again with pyarrow.feather.write_feather"),
    (b"PARE", "is an encrypted Parquet file; write it again without encryption"),
    (b"\xff\xfe", "is UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text; save it as UTF-8"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Office document (.xls, .doc); save the table as CSV or TSV"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive; unpack it"),
    (b"Rar!\x1a\x07", "is a RAR archive; unpack it"),
    (b"\x1f\x9d", "is compressed by `compress` (.Z); decompress it, or compress it with gzip"),
    (b"\x04\x22\x4d\x18", "is compressed by lz4; decompress it, or compress it with zstd or gzip"),
    (b"LZIP", "is compressed by lzip; decompress it, or compress it with xz or gzip"),
    (b"\x5d\x00\x00", "is compressed by the old lzma; decompress it, or compress it with xz or gzip"),
    (b"%PDF", "is a PDF; it holds pages, not sequences"),
    (b"\x89HDF\r\n\x1a\n", f"is an HDF5 file; {_EXPORT} (vectors are taken by `protea-ray import`)"),
    (b"\x93NUMPY", f"is a numpy array; {_EXPORT}"),
    (b"SQLite format 3\x00", f"is an SQLite data base; {_EXPORT}"),
    (b"BAM\x01", "is a BAM file of aligned reads; `samtools fasta` writes FASTA"),
    (b"CRAM", "is a CRAM file of aligned reads; `samtools fasta` writes FASTA"),
    (b"Obj\x01", f"is an Avro file; {_EXPORT}"),
    (b"ORC", f"is an ORC file; {_EXPORT}"),
    (b"RDX", f"is R data; {_EXPORT}"),
)
_FOREIGN_TEXT = (
    (b"<", "is a web page or XML, not sequences; check the address it was downloaded from"),
    (b"@", "looks like FASTQ; convert it to FASTA"),
    (b"LOCUS ", "looks like GenBank; convert it to FASTA"),
    (b"ID   ", "looks like an EMBL or Swiss-Prot flat file; convert it to FASTA"),
    (b"# STOCKHOLM", "looks like a Stockholm alignment; convert it to FASTA"),
    (b"CLUSTAL", "looks like a Clustal alignment; convert it to FASTA and remove the gaps"),
    (b"MUSCLE", "looks like a Clustal alignment; convert it to FASTA and remove the gaps"),
    (b"PileUp", "looks like a GCG alignment (MSF); convert it to FASTA and remove the gaps"),
    (b"!!AA_", "looks like a GCG file; convert it to FASTA"),
    (b"!!NA_", "looks like a GCG file of nucleotides; convert it to FASTA of proteins"),
    (b"#NEXUS", "looks like NEXUS; convert it to FASTA and remove the gaps"),
    (b"##gff", "looks like GFF; write the proteins as FASTA (of a part after ##FASTA only that part)"),
    (b"##maf", "looks like an alignment of genomes (MAF); convert it to FASTA of proteins"),
    (b"MEME version", "looks like MEME motifs, which are no sequences"),
    (b"HMMER", "looks like a profile of HMMER; `hmmemit -c` writes its consensus as FASTA"),
    (b"HEADER    ", "looks like a PDB entry; download its sequences as FASTA"),
    (b"ATOM  ", "looks like PDB coordinates; write the sequences of its chains as FASTA"),
    (b"REMARK", "looks like a PDB entry; write the sequences of its chains as FASTA"),
    (b"data_", "looks like mmCIF; download its sequences as FASTA"),
    (b"[{", "looks like one JSON array; write one object per line (JSONL)"),
)
_PHYLIP = re.compile(rb"\d+[ \t]+\d+[ \t]*[\r\n]")
_PIR = re.compile(rb"(?:P1|F1|D[1LC]|R[LC]|N[13]|XX);[ \t]*(?![\w.]+=)\S")  # `;size=12` is a note of vsearch
_GAPPED = re.compile(rb"^[A-Za-z]*[-.]+[A-Za-z.-]*[*]?\r?$", re.MULTILINE)
_COMMENTS = re.compile(rb"(?:[;#!][^\r\n]*(?:[\r\n]+|\Z)\s*)+")
_log = logging.getLogger("protea_ray")


class NotSequencesError(Exception):
    """Raised for a file of no format that is read here. Its text continues a sentence that starts with a file name."""


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


def is_pir(header: bytes) -> bool:
    """Whether a header without its `>` is one of PIR (NBRF): a code of two characters, `;` and an id, as in `P1;CRAB`.

    >>> is_pir(b"P1;CRAB_ANAPL"), is_pir(b"P1;size=12;"), is_pir(b"sp|P1;2|X")
    (True, False, False)
    """
    return _PIR.match(header) is not None


def format_of(head: bytes, path: str) -> str:
    """The format of a file from its first decompressed bytes; raises NotSequencesError in words."""
    for magic, name in _BINARY:
        if head.startswith(magic):
            return name
    _refuse_binary(head, path)
    text = head.removeprefix(BOM).lstrip()
    if not text:
        raise NotSequencesError("is empty")
    if text.startswith((b">", b"{")):
        return _fasta(text, path) if text.startswith(b">") else "jsonl"
    named = plain_name(path)
    if named.endswith((".csv", ".tsv")):
        return named[-3:]
    _refuse_text(text)
    after = text[comments.end() :] if (comments := _COMMENTS.match(text)) else text
    if after.startswith(b">"):
        return _fasta(after, path)
    return _table_format(text, whole=len(head) < HEAD)


def _fasta(text: bytes, path: str) -> str:
    if is_pir(text[1:100]):
        raise NotSequencesError("looks like PIR (NBRF), where a title follows the header; convert it to FASTA")
    if _GAPPED.search(text):
        _log.warning("%s: looks like an alignment; rows with gaps (- or .) are rejected, so remove the gaps", path)
    return "fasta"


def _refuse_binary(head: bytes, path: str) -> None:
    """Raise NotSequencesError for the first bytes of a known binary format, with the way to its sequences."""
    for magic, words in _FOREIGN_BINARY:
        if head.startswith(magic):
            raise NotSequencesError(words)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise NotSequencesError(_zip(head, path))
    if head[257:262] == b"ustar":
        raise NotSequencesError(_tar(head, path))
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise NotSequencesError(f"is a Python pickle; {_EXPORT}")
    if b"\n\x00" in head and head.split(b"\n\x00")[0].replace(b"\n", b"").isalpha():
        raise NotSequencesError("looks like a data base of MMseqs2 or Foldseek; `convert2fasta` writes FASTA")


def _tar(head: bytes, path: str) -> str:
    """How to read from a tar archive: the name of its first member stands in its first 100 bytes."""
    member = printable(head[:100].split(b"\x00")[0])
    words = f"is a tar archive; unpack it, or name a member, such as tar://{member}::{path} (tar://::{path} is all)"
    known = plain_name(path).endswith(".tar") or path.lower().endswith(tuple(TAR_SUFFIXES))
    return words if known else f"{words}; its name must end in .tar, .tar.gz or the like for that"


def _zip(head: bytes, path: str) -> str:
    """What a zip archive is, by the name of its first member, which stands at byte 30."""
    member = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if member in (b"[Content_Types].xml", b"mimetype") or member.startswith((b"_rels/", b"docProps/", b"xl/")):
        return "is a spreadsheet or another office document; save the table as CSV or TSV"
    if member.endswith(b".npy"):
        return f"is a numpy archive (npz); {_EXPORT}"
    if member.endswith(b"/data.pkl"):
        return f"is a PyTorch file; {_EXPORT}"
    named = f", such as zip://{printable(member)}::{path} (zip://::{path} is all)" if member else ""
    return f"is a zip archive; unpack it, or name a member as zip://NAME::ARCHIVE{named}"


def _refuse_text(text: bytes) -> None:
    """Raise NotSequencesError for the first words of a known text format, and for binary data of an unknown one."""
    # an array is often spread over lines
    joined = b"".join(text[:64].split(None, 1)) if text.startswith(b"[") else text
    for magic, words in _FOREIGN_TEXT:
        if joined.startswith(magic):
            raise NotSequencesError(words)
    if _PHYLIP.match(text):
        raise NotSequencesError("looks like a Phylip alignment; convert it to FASTA and remove the gaps")
    if b"\x00" in text:
        raise NotSequencesError("is binary data of a kind that is not read here")


def _table_format(text: bytes, *, whole: bool) -> str:
    """csv or tsv when all of the first lines have the same two or more columns; else raises NotSequencesError."""
    lines = [line for line in text.decode("latin-1").splitlines() if line.strip()][:6]
    if not whole and len(lines) < 6:
        lines = lines[:-1] or lines  # the last one may be cut
    readings = (
        ("tsv", csv.reader(lines, delimiter="\t")),
        ("tsv", csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)),
        ("csv", csv.reader(lines)),
    )
    for name, rows in readings:
        widths = {len(row) for row in rows}
        if len(widths) == 1 and max(widths) > 1:
            return name
    shown = printable(text.splitlines()[0], 60)
    if shown.startswith(";"):
        raise NotSequencesError(f"has comment lines and no '>', with which a FASTA record begins: {shown!r}")
    raise NotSequencesError(f"looks like plain text, not sequences: FASTA begins with '>', its first line is {shown!r}")
