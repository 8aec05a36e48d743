"""Files of vectors that other programs leave, each as a stream of items; what a file is, its own bytes say.

* FastESM / FastPLMs: an SQLite file with the table `embeddings` (all three of its layouts) or with `runs`, `records`
  and `tensors`, and a `.pth` of {sequence: tensor}. Their keys are sequences.
* fair-esm's `extract.py`: a folder of `<label>.pt`, one a protein.
* biotrainer: HDF5, one data set a protein, its id in the attribute `original_id`.

Nothing that could run code is read: SQLite opens read-only, and torch files by their weights alone.

biotrainer's HDF5: one data set a protein; see biotrainer/embedders/services/embedding_service.py.

FastESM's SQLite files. Layouts: see github.com/Synthyra/FastPLMs, fastplms/embedding_mixin.py and, since it has
`runs`, src/fastplms/embeddings/storage.py.

Files that torch saved: FastESM's .pth and the folder of fair-esm's scripts/extract.py.
"""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote

import numpy as np

from protea_ray.errors import ConfigError, InputError

_SQLITE, _HDF5, _ZIP = b"SQLite format 3\0", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_OLD_TORCH = b"\x80\x02"  # torch before 1.6


@dataclass(frozen=True)
class VectorItem:
    """One protein of a file, by id or by sequence, with vectors by pooling and a residue matrix, as far as it has them.

    Where a file does not say which pooling made a vector its name is "". The matrix has a row for every residue; if
    `matrix_is` "with_ends" it may also have those of the start and end tokens, if "cut" the last ones may be missing.
    """

    id: str | None
    sequence: str | None
    vectors: dict[str, np.ndarray]
    residues: np.ndarray | None = None
    matrix_is: Literal["whole", "with_ends", "cut"] = "whole"
    problem: str | None = None  # set where the item cannot be read: a word to count by


@dataclass(frozen=True)
class VectorFile:
    """A file or folder of vectors. `items(layer)` reads it from the beginning, one protein at a time."""

    path: Path
    format: str
    items: Callable[[int | None], Iterator[VectorItem]]


def open_source(path: str | Path) -> VectorFile:
    """What is at `path`; raises InputError when it is none of the formats above."""
    where = Path(path)
    if where.is_dir():
        return VectorFile(where, "fair-esm", lambda layer: esm_folder(where, layer))
    try:
        with where.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error}") from error
    if head == _SQLITE:
        return VectorFile(where, "fastesm-sqlite", lambda layer: sqlite_items(where))
    if head[:8] == _HDF5:
        return VectorFile(where, "biotrainer-h5", lambda layer: hdf5_items(where))
    if head[:4] == _ZIP or head[:2] == _OLD_TORCH:
        return VectorFile(where, "fastesm-pth", lambda layer: pth(where))
    raise InputError(
        f"{where} is not a file of vectors that can be imported: give FastESM's SQLite or .pth, "
        "a folder of fair-esm's .pt files, or biotrainer's .h5"
    )


def item_of(id: str | None, sequence: str | None, array: np.ndarray | None, *, with_ends: bool = False) -> VectorItem:
    """A vector (D,) or (1, D), or a matrix (residues, D); anything else is an item with a problem."""
    if array is None:
        return VectorItem(id, sequence, {}, problem="unreadable")
    if array.ndim == 2 and array.shape[0] == 1 and (sequence is None or len(sequence) > 1):
        return item_of(id, sequence, array.reshape(-1))
    if array.ndim == 1 and array.size:
        return VectorItem(id, sequence, {"": array})
    if array.ndim == 2 and array.size:
        return VectorItem(id, sequence, {}, array, "with_ends" if with_ends else "whole")
    return VectorItem(id, sequence, {}, problem="shape")


_ID = "original_id"  # the data set's own name is a hash in newer files and a running number in old ones


def hdf5_items(path: Path) -> Iterator[VectorItem]:
    """Every data set, under its `original_id`, or its name where it has none. Raises InputError for a broken file."""
    try:
        import h5py
    except ImportError as error:
        raise ConfigError('reading HDF5 needs h5py: pip install "protea-ray[bio]"', where="import") from error
    try:
        with h5py.File(path, "r") as file:
            for name, data in file.items():
                if not isinstance(data, h5py.Dataset):
                    continue
                id = data.attrs.get(_ID, name)
                array = np.asarray(data[()]) if data.dtype.kind == "f" else None
                yield item_of(id.decode() if isinstance(id, bytes) else str(id), None, array)
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5: {error}") from error


_COMPACT = 1  # first byte: version, dtype code, rank, shape, then the values
_COMPACT_DTYPES = {0: np.float16, 1: np.float16, 2: np.float32}  # 1 is bfloat16, written as float16
_MOST_AXES = 4
_FLOATS = ("float16", "float32", "float64", "bfloat16")
_LATEST_RUN = "SELECT run_id FROM runs ORDER BY {order} DESC, rowid DESC LIMIT 1"


def sqlite_items(path: Path) -> Iterator[VectorItem]:
    """Every stored sequence; the newest run of a file with runs. Raises InputError for another program's file."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as file:
            yield from _rows(file, path)
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be read as SQLite: {error}") from error


def _rows(file: sqlite3.Connection, path: Path) -> Iterator[VectorItem]:
    tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if {"runs", "records", "tensors"} <= tables:
        return _of_run(file)
    if "embeddings" in tables and {"sequence", "embedding"} <= _columns(file, "embeddings"):
        return _of_table(file)
    raise InputError(f"{path} holds the tables {', '.join(sorted(tables)) or 'none'}; FastESM's has `embeddings`, or "
                     "`runs`, `records` and `tensors`")  # fmt: skip


def _columns(file: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in file.execute(f"PRAGMA table_info({table})")}


def _of_run(file: sqlite3.Connection) -> Iterator[VectorItem]:
    order = "published_order" if "published_order" in _columns(file, "runs") else "created_at"
    run = file.execute(_LATEST_RUN.format(order=order)).fetchone()
    query = (
        "SELECT record_id, sequence, dtype, shape_json, data FROM records JOIN tensors USING (run_id, position) "
        "WHERE run_id = ? ORDER BY position"
    )
    for id, sequence, dtype, shape, data in file.execute(query, run or ("",)):
        yield item_of(id, sequence, _plain(data, dtype, json.loads(shape)), with_ends=True)


def _of_table(file: sqlite3.Connection) -> Iterator[VectorItem]:
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


_POOLED = {"mean_representations": "mean", "bos_representations": "cls"}
_RESIDUES = "representations"


def load(file: Path | IO[bytes], name: str) -> Any:
    """Tensors, and plain containers of them; raises InputError for anything else a pickle could hold."""
    import torch

    mapped = isinstance(file, Path) and zipfile.is_zipfile(file)  # a large .pth is then read as it is used
    try:
        # these formats are nothing but torch's; weights_only refuses every pickle that is more than tensors
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)  # noqa: TID251
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{name} is not a plain file of tensors, and nothing else is read: {reason}") from error


def as_array(tensor: Any) -> np.ndarray | None:
    """A floating tensor as numpy, bfloat16 as float32; None for anything else."""
    import torch

    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        return None
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def pth(path: Path) -> Iterator[VectorItem]:
    """FastESM's {sequence: tensor}. Raises InputError for another content."""
    held = load(path, str(path))
    if not isinstance(held, dict) or not all(isinstance(key, str) for key in held):
        raise InputError(f"{path} holds no mapping from sequences to tensors; only FastESM's .pth is known")
    for sequence, tensor in held.items():
        yield item_of(None, sequence, as_array(tensor), with_ends=True)


def esm_folder(folder: Path, layer: int | None) -> Iterator[VectorItem]:
    """Every .pt below `folder`, by name. `layer` chooses where files hold several; raises ConfigError without it."""
    files = sorted(folder.rglob("*.pt"))
    if not files:
        raise InputError(f"{folder} holds no .pt file")
    for file in files:
        held = load(file, str(file))
        if not isinstance(held, dict) or "label" not in held:
            raise InputError(f"{file} is not what fair-esm's extract.py writes: it has no label")
        yield _esm_item(held, layer, file)


def _esm_item(held: dict[str, Any], layer: int | None, file: Path) -> VectorItem:
    vectors = {
        pooling: array
        for name, pooling in _POOLED.items()
        if (array := as_array(_of_layer(held.get(name), layer, file))) is not None
    }
    residues = as_array(_of_layer(held.get(_RESIDUES), layer, file))
    problem = None if vectors or residues is not None else "unreadable"
    return VectorItem(str(held["label"]), None, vectors, residues, "cut", problem)  # at --truncation_seq_length


def _of_layer(by_layer: Any, layer: int | None, file: Path) -> Any:
    if not isinstance(by_layer, dict) or not by_layer:
        return None
    if layer is None and len(by_layer) == 1:
        return next(iter(by_layer.values()))
    if layer not in by_layer:
        have = ", ".join(str(number) for number in sorted(by_layer))
        raise ConfigError(f"{file.name} holds the layers {have}; name one of them with --layer", where="layer")
    return by_layer[layer]
