"""Records of columnar tables: Parquet, Arrow (files, Feather version 2, streams) and Lance.

Only the needed columns are read. Text may be string, large_string, string_view, binary or a dictionary of these (an
Enum or Categorical of Polars or pandas); ids may also be whole numbers. A record's `line` is its 1-based row in the
source.
"""

# Lance's types are partial: what its data sets return is unknown to pyright
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.errors import InputError
from protea_ray.sequences.parts import Columns, Part, Source
from protea_ray.sequences.records import Found
from protea_ray.sequences.streams import opened

if TYPE_CHECKING:
    import lance

_BATCH_BYTES = 16 << 20
_MOST_ROWS = 8192
_DAMAGE = (pa.ArrowException, OSError, ValueError, RuntimeError, MemoryError)
_LANCE_ROWS = 1024  # Lance reads ahead in rows, not in bytes


def table_records(part: Part, columns: Columns) -> Iterator[Found]:
    """Every row of a part in order; raises InputError when the table is damaged or lacks a column."""
    with explained(part.source):
        schema = table_schema(part.source)
        problems = table_problems(schema, columns)
        if problems:
            raise InputError([f"{part.source.uri}: {problem}" for problem in problems])
        names = [columns.id, columns.sequence]
        names += [columns.description] if _is_text(schema, columns.description) else []
        row = part.line
        for batch in _batches(part, list(dict.fromkeys(names))):
            yield from _rows(batch, columns, row)
            row += batch.num_rows


def table_schema(source: Source) -> pa.Schema:
    """Arrow schema of a table; raises InputError when the file is damaged."""
    with explained(source):
        if source.format == "lance":
            return lance_dataset(source).schema
        if source.format == "parquet":
            with opened(source.uri) as handle:
                return pq.ParquetFile(handle).schema_arrow
        with _arrow(source) as reader:
            return reader.schema


def table_problems(schema: pa.Schema, columns: Columns) -> list[str]:
    """Required columns that are missing, ambiguous, or of a type that cannot hold an id or letters."""
    problems = columns.problems(schema.names)
    if problems:
        return problems
    kinds = {columns.id: "text or whole numbers", columns.sequence: "text"}
    for name, wanted in kinds.items():
        numeric = name == columns.id and pa.types.is_integer(_value_type(schema.field(name).type))
        if not numeric and not _is_text(schema, name):
            found = schema.field(name).type
            problems.append(f"column {name!r} holds {found}, where {wanted} is needed; cast it or choose another")
    return problems


def lance_dataset(source: Source) -> lance.LanceDataset:
    """The dataset at the version that was scanned (the latest when none was)."""
    import lance  # here, so that other formats are read where it is not installed

    return lance.dataset(source.uri, version=source.version or None)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def _is_text(schema: pa.Schema, name: str) -> bool:
    if schema.names.count(name) != 1:
        return False
    kind, types = _value_type(schema.field(name).type), pa.types
    tests = (types.is_string, types.is_large_string, types.is_string_view)
    tests += (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_null)
    return any(test(kind) for test in tests)


def _batches(part: Part, names: list[str]) -> Iterator[pa.RecordBatch]:
    match part.source.format:
        case "parquet":
            return _parquet_batches(part, names)
        case "lance":
            return _lance_batches(part, names)
        case _:
            return _arrow_batches(part.source, names)


def _parquet_batches(part: Part, names: list[str]) -> Iterator[pa.RecordBatch]:
    with opened(part.source.uri) as handle:
        # page by page: a row group of 360 MB peaks at 130 MB of process memory, with the defaults at 500
        file = pq.ParquetFile(handle, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
        groups = range(part.start, min(part.end, file.metadata.num_row_groups))
        about = [file.metadata.row_group(group) for group in groups]
        row_bytes = sum(group.total_byte_size for group in about) // max(1, sum(group.num_rows for group in about))
        rows = min(_MOST_ROWS, max(1, _BATCH_BYTES // max(1, row_bytes)))
        yield from file.iter_batches(batch_size=rows, row_groups=list(groups), columns=names, use_threads=False)


def _lance_batches(part: Part, names: list[str]) -> Iterator[pa.RecordBatch]:
    dataset = lance_dataset(part.source)
    fragments = dataset.get_fragments()[part.start : part.end]
    scanner = dataset.scanner(
        columns=names,
        fragments=fragments,
        batch_size=_LANCE_ROWS,
        batch_readahead=2,
        fragment_readahead=1,
        scan_in_order=True,
    )
    yield from scanner.to_batches()


def _arrow_batches(source: Source, names: list[str]) -> Iterator[pa.RecordBatch]:
    with _arrow(source) as reader:
        if isinstance(reader, pa.RecordBatchFileReader):
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            batches = iter(reader)
        for batch in batches:
            batch.validate(full=True)  # offsets of a damaged file would be read as addresses
            yield batch.select(names)


@contextmanager
def _arrow(source: Source) -> Generator[pa.RecordBatchFileReader | pa.RecordBatchStreamReader, None, None]:
    """An Arrow file, or the stream form that `datasets` and sockets write."""
    with opened(source.uri) as handle:
        is_file = handle.read(6) == b"ARROW1"
        handle.seek(0)
        yield pa.ipc.open_file(handle) if is_file else pa.ipc.open_stream(handle)


def _rows(batch: pa.RecordBatch, columns: Columns, row: int) -> Iterator[Found]:
    ids, letters = (_as_bytes(batch.column(name)) for name in (columns.id, columns.sequence))
    described = columns.description in batch.schema.names
    about = _as_bytes(batch.column(columns.description)) if described else [None] * batch.num_rows
    for offset, (name, text, residues) in enumerate(zip(ids, about, letters, strict=True)):
        yield Found(row + offset, name or b"", text or b"", residues or b"")


def _as_bytes(column: pa.Array) -> list[bytes | None]:
    if isinstance(column, pa.DictionaryArray):
        # value by value: Arrow cannot take from a dictionary of string_view, which Polars writes (Enum, Categorical)
        values = _as_bytes(column.dictionary)
        return [None if index is None else values[index] for index in column.indices.to_pylist()]
    if pa.types.is_integer(column.type):
        column = column.cast(pa.large_string())
    return column.cast(pa.large_binary()).to_pylist()


def without_views(table: pa.Table) -> pa.Table:
    """The same table with columns of string_view, and dictionaries of it, as large_string: Arrow cannot sort views."""
    for position, field in enumerate(table.schema):
        if _value_type(field.type) == pa.string_view():
            chunks = [_texts(chunk) for chunk in table.column(position).chunks]
            table = table.set_column(position, field.name, pa.chunked_array(chunks, pa.large_string()))
    return table


def _texts(column: pa.Array) -> pa.Array:
    return pa.array(_as_bytes(column), pa.large_binary()).cast(pa.large_string())


@contextmanager
def explained(source: Source) -> Generator[None, None, None]:
    """Arrow's and Lance's errors as one InputError with the file's name."""
    try:
        yield
    except BaseException as error:
        # a panic inside Lance (a damaged manifest) is a BaseException of a class that cannot be imported
        if not isinstance(error, _DAMAGE) and type(error).__name__ != "PanicException":
            raise
        # a wrong byte in a length asks for a terabyte, and MemoryError says nothing
        said = " ".join(str(error).split()).split(", /rustc")[0][:300] or "it asks for more memory than there is"
        what, cure = "truncated or damaged", "download or write it again"
        if isinstance(error, NotImplementedError):  # Arrow's own is one too; the bytes may be good
            what, cure = "cannot be read as", "write it again with plain text columns and a common compression"
        raise InputError(f"{source.uri}: {what} {source.format} ({said}); {cure}") from error
