"""Rows of a vector space: the schema of its table, rows from arrays, and a checksum for every row.

Lance data files carry no checksums: a flipped bit in a vector reads back as a vector, so each row has its own.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from lance.blob import BlobType

from protea_ray.errors import StoreError
from protea_ray.sequences.records import KEY, KEY_BYTES

RESIDUES = "residues"  # column of residue-level matrices
LOGITS = "logits"  # column of the language model's logits, one row a residue and one column a token
CHECKSUM = "crc"
VECTORS = b"protea.vectors"  # metadata key: JSON of what `vector_facts` returns
_NUMBERS = (
    "chunk_start",
    "chunk_end",
    "n_residues",
    "n_residues_seen",
    "n_windows",
    "truncated",
)  # as the checksum takes them
_DTYPES = {"float16": pa.float16(), "float32": pa.float32()}

SOURCES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # label, as in proteins.source and rejects.source
        pa.field("digest", pa.string(), nullable=False),  # of the file's bytes
        pa.field("variant", pa.string(), nullable=False),  # reading options that change what is read
        pa.field("uri", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),
        pa.field("proteins", pa.int64(), nullable=False),  # records that became rows of proteins
        pa.field("rejects", pa.int64(), nullable=False),
        pa.field("residues", pa.int64(), nullable=False),
        pa.field("run", pa.string(), nullable=False),
        pa.field("added", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)

_FACTS = [
    pa.field("key", KEY, nullable=False),
    pa.field("unit", pa.string(), nullable=False),  # proteins that were embedded and committed together
    pa.field("chunk_start", pa.int32(), nullable=False),  # 0-based residue, inclusive
    pa.field("chunk_end", pa.int32(), nullable=False),  # exclusive
    pa.field("n_residues", pa.int32(), nullable=False),
    pa.field("n_residues_seen", pa.int32(), nullable=False),  # below n_residues where the protein was cut off
    pa.field("n_windows", pa.int32(), nullable=False),  # forward passes that saw the protein
    pa.field("truncated", pa.bool_(), nullable=False),
    pa.field(CHECKSUM, pa.uint32(), nullable=False),  # CRC-32 of all the row's other values, see `row_checksums`
]


def space_schema(
    widths: Mapping[str, int],
    store_dtype: str,
    residue_width: int | None,
    metadata: Mapping[str, str],
    tokens: Sequence[str] | None = None,
) -> pa.Schema:
    """Make the schema of a vector space: facts, one fixed-size vector per pooling, and matrices when wanted.

    `widths`: the length of each pooled vector, by pooling. `residue_width`: the number of columns of the `residues`
    matrices, None without them. A matrix is stored row-major as one blob per row (64 random proteins in 17 ms,
    against 133 ms for a list of lists, and a crop reads only its own bytes). `tokens`: the names of the columns of
    the `logits` matrices, None without them. The metadata repeat all of it, because a blob's type does not say it.
    """
    value = _DTYPES[store_dtype]
    fields = [*_FACTS, *(pa.field(p, pa.list_(value, w), nullable=False) for p, w in widths.items())]
    facts: dict[str, Any] = {"widths": dict(widths), "store_dtype": store_dtype, "residue_width": residue_width}
    facts["tokens"] = None if tokens is None else list(tokens)
    fields += [lance.blob_field(name, nullable=False) for name in matrix_widths(facts)]
    return pa.schema(fields, metadata={**metadata, VECTORS.decode(): json.dumps(facts)})


_VECTOR_FACTS = ("widths", "store_dtype", "residue_width", "tokens")


def vector_facts(schema: pa.Schema) -> dict[str, Any]:
    """Read `widths`, `store_dtype`, `residue_width` and `tokens` from a space's schema.

    Raises StoreError for the schema of another table, and for a description that is damaged.
    """
    metadata: dict[bytes, bytes] = schema.metadata or {}
    raw = metadata.get(VECTORS)
    if raw is None:
        raise StoreError("the table is not a vector space of this package: its schema metadata says nothing")
    try:
        facts: dict[str, Any] = {"tokens": None, **json.loads(raw)}
    except ValueError as error:
        raise StoreError(f"the description of a space's vectors cannot be read: {error}") from error
    if missing := [name for name in _VECTOR_FACTS if name not in facts]:
        raise StoreError(f"the description of a space's vectors lacks {', '.join(missing)}")
    return facts


def matrix_widths(facts: Mapping[str, Any]) -> dict[str, int]:
    """The number of columns of a space's matrices, by the name of their blob column."""
    widths = {RESIDUES: facts["residue_width"], LOGITS: facts["tokens"] and len(facts["tokens"])}
    return {name: width for name, width in widths.items() if width is not None}


def space_rows(
    schema: pa.Schema,
    *,
    keys: Sequence[bytes] | np.ndarray,
    unit: str,
    spans: Sequence[Any] | np.ndarray,
    n_residues: Sequence[int] | np.ndarray,
    n_residues_seen: Sequence[int] | np.ndarray,
    n_windows: Sequence[int] | np.ndarray,
    truncated: Sequence[bool] | np.ndarray,
    vectors: Mapping[str, Sequence[np.ndarray] | np.ndarray],
    residues: Sequence[np.ndarray] | None = None,
    logits: Sequence[np.ndarray] | None = None,
) -> pa.Table:
    """Make the rows of one unit, one per protein and chunk.

    Arguments have one entry per protein. An entry of `spans` is (start, end) or, for a chunked protein, c such pairs;
    a pooling's entry is then (c, D) instead of (D,). `residues` and `logits` have one entry per *row*, (length, D)
    and (length, tokens). Values are cast to the space's dtype. Raises StoreError for a width that is not the space's,
    and for values that are not finite after the cast, which the encoder should have rejected.
    """
    facts = vector_facts(schema)
    dtype, given = np.dtype(facts["store_dtype"]), {RESIDUES: residues, LOGITS: logits}
    matrices = matrix_widths(facts)
    pairs = [np.asarray(s, dtype=np.int32).reshape(-1, 2) for s in spans]
    repeat = [len(p) for p in pairs]
    span = np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int32)
    columns: dict[str, pa.Array] = {
        "key": _keys(keys, repeat),
        "unit": pa.array([unit] * len(span), pa.string()),
        "chunk_start": pa.array(span[:, 0]),
        "chunk_end": pa.array(span[:, 1]),
        "n_residues": _repeated(n_residues, repeat, np.int32),
        "n_residues_seen": _repeated(n_residues_seen, repeat, np.int32),
        "n_windows": _repeated(n_windows, repeat, np.int32),
        "truncated": _repeated(truncated, repeat, np.bool_),
    }
    for pooling, width in facts["widths"].items():
        columns[pooling] = _vectors(vectors[pooling], len(span), width, dtype, f"{pooling} of unit {unit}")
    for name, width in matrices.items():
        columns[name] = _matrices(given[name] or (), span, width, dtype, f"{name} of unit {unit}")
    columns[CHECKSUM] = pa.array(row_checksums(columns, list(facts["widths"]), list(matrices)))
    columns |= {name: _blobs(columns[name]) for name in matrices}
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _repeated(values: Sequence[Any] | np.ndarray, repeat: Sequence[int], dtype: type[np.generic]) -> pa.Array:
    return pa.array(np.repeat(np.asarray(values, dtype=dtype), repeat))


def _keys(keys: Sequence[bytes] | np.ndarray, repeat: Sequence[int]) -> pa.Array:
    raw = keys.tobytes() if isinstance(keys, np.ndarray) else b"".join(keys)
    keys_once = np.frombuffer(raw, dtype=np.dtype(f"V{KEY_BYTES}"))
    repeated = np.repeat(keys_once, repeat)
    return pa.Array.from_buffers(KEY, len(repeated), [None, pa.py_buffer(repeated.tobytes())])


def _vectors(values: Sequence[np.ndarray] | np.ndarray, rows: int, width: int, dtype: np.dtype, what: str) -> pa.Array:
    """(rows, width) values as one fixed-size list column."""
    whole = values if isinstance(values, np.ndarray) else np.concatenate([np.atleast_2d(v) for v in values])
    if whole.shape != (rows, width):
        raise StoreError(f"{what}: vectors are {whole.shape}, the space wants {(rows, width)}")
    flat = pa.array(_cast(whole, dtype, what).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(flat.type, width))


def _matrices(matrices: Sequence[np.ndarray], span: np.ndarray, width: int, dtype: np.dtype, what: str) -> pa.Array:
    """Matrices as one large_binary column: a single buffer and its offsets, without Python bytes for each row."""
    shapes = [m.shape for m in matrices]
    if shapes != [(end - start, width) for start, end in span.tolist()]:
        raise StoreError(f"{what}: matrices are {shapes[:5]}, the spans and the space want others")
    offsets = np.concatenate(([0], np.cumsum([rows * width * dtype.itemsize for rows, _ in shapes])))
    whole = _cast(np.concatenate(matrices), dtype, what) if matrices else np.zeros(0, dtype)
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(np.ascontiguousarray(whole))]
    return pa.Array.from_buffers(pa.large_binary(), len(matrices), buffers)


def _blobs(data: pa.Array) -> pa.Array:
    """large_binary as Lance's blob type, not copied."""
    storage = list(BlobType().storage_type)
    rest = [pa.nulls(len(data), field.type) for field in storage[1:]]
    return pa.ExtensionArray.from_storage(BlobType(), pa.StructArray.from_arrays([data, *rest], fields=storage))


def _cast(values: np.ndarray, dtype: np.dtype, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # an overflow becomes Inf, which the next line names
        cast = np.ascontiguousarray(values, dtype=dtype)
    if not np.isfinite(cast).all():
        raise StoreError(f"{what}: values that are not finite as {dtype}; the encoder should have rejected them")
    return cast


def row_checksums(columns: Mapping[str, pa.Array], poolings: Sequence[str], matrices: Sequence[str]) -> np.ndarray:
    """Compute the CRC-32 of each row as it is stored; (n,) uint32.

    The fields, in order: unit, key, numbers, vectors in `poolings`, bytes of `matrices`. `columns` are arrays by
    name, matrices as large_binary. A row of 1,280 half-precision values takes about 3 microseconds, matrices take
    about a second a gigabyte.
    """
    units = columns["unit"].to_pylist()
    if not units:
        return np.zeros(0, np.uint32)
    blocks = [_key_words(columns["key"]), *(_numbers(columns[n]) for n in _NUMBERS)]
    fixed = np.concatenate([*blocks, *(_vector_words(columns[p]) for p in poolings)], axis=1)
    raw, width = memoryview(fixed.tobytes()), fixed.shape[1]
    crcs = [zlib.crc32(raw[i * width : (i + 1) * width], zlib.crc32(u.encode())) for i, u in enumerate(units)]
    for name in matrices:
        crcs = [zlib.crc32(m, crc) for m, crc in zip(_values(columns[name]), crcs, strict=True)]
    return np.array(crcs, np.uint32)


def _key_words(keys: pa.Array) -> np.ndarray:
    raw = np.frombuffer(keys.buffers()[1], np.uint8)
    return raw[keys.offset * KEY_BYTES : (keys.offset + len(keys)) * KEY_BYTES].reshape(-1, KEY_BYTES)


def _numbers(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False).astype("<i4").view(np.uint8).reshape(len(values), -1)


def _vector_words(vectors: pa.Array) -> np.ndarray:
    flat = np.ascontiguousarray(vectors.flatten().to_numpy())
    return flat.view(np.uint8).reshape(len(vectors), -1)


def _values(values: pa.Array) -> list[memoryview]:
    """The bytes of every value of a large_binary array, not copied."""
    ends = np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1].tolist()
    data = memoryview(values.buffers()[2]) if values.buffers()[2] is not None else memoryview(b"")
    return [data[a:b] for a, b in pairwise(ends)]
