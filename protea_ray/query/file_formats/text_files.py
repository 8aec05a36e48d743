"""Rows as text: CSV, TSV, one JSON object a line, FASTA. Each writer gives bytes, so that a file and a pipe are one.

A vector is one column for each of its values in CSV and TSV (`mean_0`, `mean_1`, ...), a list in JSON. Values are in
the fewest digits that read back as the same float32; half precision is widened first, which is exact.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from protea_ray.query.file_formats.content import Content, is_vector, widened, with_readable_keys
from protea_ray.query.view import matrix
from protea_ray.sequences.text import fasta_text

TextParts = Iterator[tuple[bytes, int]]  # text, and how many rows it holds
_EFFORT = 4  # of gzip: 24 MB of vectors take 5.5 s and become 7.8 MB at 9, the default here; 0.34 s and 8.6 MB at 4
Lines = Callable[[Iterable[pa.Table]], TextParts]


def text_file(lines: Lines) -> Callable[[Content, Path], int]:
    """A writer of files from one of text, compressed where the file's name ends in .gz; it returns the rows."""

    def write(content: Content, path: Path) -> int:
        rows = 0
        # no time in the header: the same rows give the same bytes
        packed = path.suffix == ".gz"
        with gzip.GzipFile(path, "wb", _EFFORT, mtime=0) if packed else path.open("wb") as out:
            for text, count in lines(content.tables()):
                out.write(text)
                rows += count
        return rows

    return write


def csv_lines(parts: Iterable[pa.Table]) -> TextParts:
    """Comma-separated values under a header; text is quoted."""
    return _separated(parts, ",")


def tsv_lines(parts: Iterable[pa.Table]) -> TextParts:
    """Tab-separated values under a header; text is quoted."""
    return _separated(parts, "\t")


def _separated(parts: Iterable[pa.Table], delimiter: str) -> TextParts:
    for number, part in enumerate(parts):
        text = io.BytesIO()
        options = pa_csv.WriteOptions(include_header=number == 0, delimiter=delimiter)
        pa_csv.write_csv(_one_value_a_column(with_readable_keys(part)), text, options)
        yield text.getvalue(), len(part)


def _one_value_a_column(table: pa.Table) -> pa.Table:
    """The table with each vector column as one column of float32 for each of its values."""
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for field in table.schema:
        if is_vector(field.type):
            values = matrix(table[field.name]).astype(np.float32)
            columns |= {f"{field.name}_{i}": pa.array(np.ascontiguousarray(v)) for i, v in enumerate(values.T)}
        else:
            columns[field.name] = table[field.name]
    return pa.table(columns)


def json_lines(parts: Iterable[pa.Table]) -> TextParts:
    """One JSON object a line, vectors as lists."""
    for part in map(with_readable_keys, parts):
        vectors = [field.name for field in part.schema if is_vector(field.type)]
        facts = part.drop_columns(vectors) if vectors else part
        objects = [json.dumps(row, ensure_ascii=False)[:-1] for row in facts.to_pylist()]
        for name in vectors:
            lists = _lists(part[name])
            objects = [f"{row}, {json.dumps(name)}: [{values}]" for row, values in zip(objects, lists, strict=True)]
        yield "".join(f"{row}}}\n" for row in objects).encode(), len(part)


def _lists(vectors: pa.ChunkedArray) -> list[str]:
    """The values of each vector with commas between them."""
    values = matrix(widened(pa.table({"v": vectors}))["v"])
    starts = pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32())
    texts = pa.ListArray.from_arrays(starts, pa.array(values.ravel()).cast(pa.string()))
    return pc.binary_join(texts, ", ").to_pylist()


def fasta_lines(parts: Iterable[pa.Table]) -> TextParts:
    """Letters with id and description as header; of a protein in chunks one record."""
    for part in parts:
        if "chunk_start" in part.schema.names:
            part = part.filter(pc.equal(part["chunk_start"], 0))
        columns = (part[name].to_pylist() for name in ("id", "description", "sequence"))
        yield "".join(fasta_text(*row) for row in zip(*columns, strict=True)).encode(), len(part)
