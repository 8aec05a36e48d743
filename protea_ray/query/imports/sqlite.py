"""FastESM's SQLite files. Layouts: see github.com/Synthyra/FastPLMs, fastplms/embedding_mixin.py and, since it has
`runs`, src/fastplms/embeddings/storage.py."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np

from protea_ray.errors import InputError
from protea_ray.exchange.vector_files import Item, item_of
from protea_ray.query.imports.tensors import as_array, load

_COMPACT = 1  # first byte: version, dtype code, rank, shape, then the values
_COMPACT_DTYPES = {0: np.float16, 1: np.float16, 2: np.float32}  # 1 is bfloat16, written as float16
_MOST_AXES = 4
_FLOATS = ("float16", "float32", "float64", "bfloat16")
_LATEST_RUN = "SELECT run_id FROM runs ORDER BY {order} DESC, rowid DESC LIMIT 1"


def items(path: Path) -> Iterator[Item]:
    """Every stored sequence; the newest run of a file with runs. Raises InputError for another program's file."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as file:
            yield from _rows(file, path)
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be read as SQLite: {error}") from error


def _rows(file: sqlite3.Connection, path: Path) -> Iterator[Item]:
    tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if {"runs", "records", "tensors"} <= tables:
        return _of_run(file)
    if "embeddings" in tables and {"sequence", "embedding"} <= _columns(file, "embeddings"):
        return _of_table(file)
    raise InputError(f"{path} holds the tables {', '.join(sorted(tables)) or 'none'}; FastESM's has `embeddings`, or "
                     "`runs`, `records` and `tensors`")  # fmt: skip


def _columns(file: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in file.execute(f"PRAGMA table_info({table})")}


def _of_run(file: sqlite3.Connection) -> Iterator[Item]:
    order = "published_order" if "published_order" in _columns(file, "runs") else "created_at"
    run = file.execute(_LATEST_RUN.format(order=order)).fetchone()
    query = (
        "SELECT record_id, sequence, dtype, shape_json, data FROM records JOIN tensors USING (run_id, position) "
        "WHERE run_id = ? ORDER BY position"
    )
    for id, sequence, dtype, shape, data in file.execute(query, run or ("",)):
        yield item_of(id, sequence, _plain(data, dtype, json.loads(shape)), with_ends=True)


def _of_table(file: sqlite3.Connection) -> Iterator[Item]:
    described = {"shape", "dtype"} <= _columns(file, "embeddings")
    more = ", shape, dtype" if described else ", NULL, NULL"
    for sequence, data, shape, dtype in file.execute(f"SELECT sequence, embedding{more} FROM embeddings"):
        if shape and dtype:
            array = _plain(data, dtype, [int(axis) for axis in shape.split(",") if axis])
        else:
            array = _blob(data)
        yield item_of(None, sequence, array, with_ends=True)


def _plain(data: bytes, dtype: str, shape: list[int]) -> np.ndarray | None:
    """Values of a named type; None when they are not as many as the shape says."""
    if dtype not in _FLOATS:
        return None
    wide = dtype == "bfloat16"  # the upper half of a float32
    size = 2 if wide else np.dtype(dtype).itemsize
    if len(data) != size * int(np.prod(shape, dtype=np.int64)):
        return None
    if wide:
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return np.frombuffer(data, dtype).reshape(shape)


def _blob(data: bytes) -> np.ndarray | None:
    """A blob that describes itself, a tensor that torch saved, or, in the oldest files, float32 values."""
    compact = _compact(data)
    if compact is not None:
        return compact
    if data[:4] == b"PK\x03\x04":
        return as_array(load(io.BytesIO(data), "a tensor in the file"))
    return np.frombuffer(data, np.float32) if data and len(data) % 4 == 0 else None


def _compact(data: bytes) -> np.ndarray | None:
    if len(data) < 6 or data[0] != _COMPACT or data[1] not in _COMPACT_DTYPES:
        return None
    (axes,) = struct.unpack_from("<i", data, 2)
    start = 6 + 4 * axes
    if not 1 <= axes <= _MOST_AXES or len(data) < start:
        return None
    shape = struct.unpack_from(f"<{axes}i", data, 6)
    dtype = np.dtype(_COMPACT_DTYPES[data[1]])
    if min(shape) < 1 or len(data) - start != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
        return None
    return np.frombuffer(data, dtype, offset=start).reshape(shape)
