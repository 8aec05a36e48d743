"""One pass over a source: its digest, and the parts in which it can be read in parallel.

The digest is sha256 over the bytes as they stand in the file. A Lance dataset has no such bytes: its digest is sha256
over its URI, its version and the names of its data files, which Lance never rewrites.

Only a plain FASTA, a Parquet file and a Lance dataset have more than one part. A part of a FASTA begins at a `>` at the
start of a line, so records are never cut, and knows the true line number of its first record.
"""

# Lance's types are partial: what its data sets return is unknown to pyright
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pyarrow.parquet as pq

from protea_ray.errors import InputError
from protea_ray.sequences.columnar import explained, lance_dataset, table_problems, table_schema
from protea_ray.sequences.parts import Columns, Part, Scan, Source
from protea_ray.sequences.streams import opened, raw_blocks, whole_lines
from protea_ray.sequences.text import text_columns
from protea_ray.sequences.walk import last_name


def scan(source: Source, columns: Columns, part_bytes: int) -> Scan:
    """Read a source once, in blocks of 8 MiB, and cut it into parts of about `part_bytes` bytes.

    Raises InputError when the source cannot be read, or is a table without the id or the sequence column.
    """
    problems = column_problems(source, columns)
    if problems:
        raise InputError(problems)
    if source.format == "lance":
        return _scan_lance(source, part_bytes)
    if source.format == "parquet":
        return Scan(source, _digest(source), _parquet_parts(source, part_bytes))
    if source.format == "fasta" and source.compression == "none":
        return _scan_fasta(source, part_bytes)
    return Scan(source, _digest(source), (Part(source, 0, 0, source.size, 1),))


def column_problems(source: Source, columns: Columns) -> list[str]:
    """Why a source cannot be read with these columns; nothing for FASTA. Raises InputError when it is damaged."""
    match source.format:
        case "fasta":
            return []
        case "csv" | "tsv" | "jsonl":
            found = columns.problems(text_columns(source))
        case _:
            with explained(source):  # also column names that are not text
                found = table_problems(table_schema(source), columns)
                if not found and source.format == "parquet":
                    found = _index_problems(source)
    in_path = [name for name, _ in columns.required if f"/{name}=" in source.uri]
    if found and in_path:
        found = [f"column {in_path[0]!r} stands in the names of folders, which are not read; write it out", *found]
    return [f"{source.uri}: {problem}" for problem in found]


def _index_problems(source: Source) -> list[str]:
    """Why a Parquet file holds no rows of its own: `_metadata` lists those of its neighbours, as offsets in them."""
    with opened(source.uri) as handle:
        metadata = pq.ParquetFile(handle).metadata
    name = last_name(source.uri)
    if metadata.num_row_groups and metadata.num_columns:
        other = metadata.row_group(0).column(0).file_path
        if other and last_name(other) != name:
            return [f"lists the row groups of other files ({other}, ...) and holds no rows; name these files"]
    elif name == "_common_metadata":
        return ["holds the columns of the Parquet files beside it and no rows; name these files"]
    return []


def _digest(source: Source) -> str:
    digest = hashlib.sha256()
    for block in raw_blocks(source.uri):
        digest.update(block)
    return digest.hexdigest()


def _scan_fasta(source: Source, part_bytes: int) -> Scan:
    digest, cuts = hashlib.sha256(), _Cuts(part_bytes)
    for block in whole_lines(raw_blocks(source.uri)):
        digest.update(block)
        cuts.feed(block)
    sized = replace(source, size=cuts.at)
    ends = [start for start, _ in cuts.found[1:]] + [cuts.at]
    pairs = enumerate(zip(cuts.found, ends, strict=True))
    parts = tuple(Part(sized, index, start, end, line) for index, ((start, line), end) in pairs)
    return Scan(sized, digest.hexdigest(), parts)


class _Cuts:
    """Where a FASTA may be cut: (offset, line) of the file's start, then of records at least `step` bytes apart."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._line = 1
        self.at = 0
        self.found = [(0, 1)]

    def feed(self, block: bytes) -> None:
        """Look through a block that ends neither inside nor right after a line end."""
        done = 0
        while (cut := _next_record(block, self.found[-1][0] + self._step - self.at)) >= 0:
            self._line += _line_ends(block[done:cut])
            self.found.append((self.at + cut, self._line))
            done = cut
        self._line += _line_ends(block[done:])
        self.at += len(block)


def _next_record(block: bytes, least: int) -> int:
    """Offset of the first `>` after a line end at or past `least`, or -1."""
    start = max(0, least - 1)
    ends = (b"\n>", b"\r>") if b"\r" in block else (b"\n>",)
    hits = [hit for hit in (block.find(end, start) for end in ends) if hit >= 0]
    return min(hits) + 1 if hits else -1


def _line_ends(text: bytes) -> int:
    ends = text.count(b"\n")
    return ends + text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else ends


def _parquet_parts(source: Source, part_bytes: int) -> tuple[Part, ...]:
    with explained(source), opened(source.uri) as handle:
        metadata = pq.ParquetFile(handle).metadata
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        sizes = [(group.total_byte_size, group.num_rows) for group in groups]
    return _grouped(source, sizes, part_bytes)


def _grouped(source: Source, sizes: Sequence[tuple[int, int]], part_bytes: int) -> tuple[Part, ...]:
    """Parts of consecutive (bytes, rows) stretches, closed as soon as one holds `part_bytes`; without any, one part.

    So a table without rows is read and recorded like any other.
    """
    if not sizes:
        return (Part(source, 0, 0, 0, 1),)
    parts: list[Part] = []
    start = size = 0
    row = first = 1
    for index, (stretch, rows) in enumerate(sizes, 1):
        size, row = size + stretch, row + rows
        if size >= part_bytes or index == len(sizes):
            parts.append(Part(source, len(parts), start, index, first))
            start, size, first = index, 0, row
    return tuple(parts)


def _scan_lance(source: Source, part_bytes: int) -> Scan:
    with explained(source):
        dataset = lance_dataset(source)
        fragments = dataset.get_fragments()
        files = [file for fragment in fragments for file in fragment.data_files()]
        sizes = [
            (sum(file.file_size_bytes or part_bytes for file in fragment.data_files()), fragment.count_rows())
            for fragment in fragments
        ]
    pinned = replace(source, version=dataset.version, size=sum(file.file_size_bytes or 0 for file in files))
    named = "\n".join([source.uri, str(dataset.version), *sorted(file.path for file in files)])
    return Scan(pinned, hashlib.sha256(named.encode()).hexdigest(), _grouped(pinned, sizes, part_bytes))
