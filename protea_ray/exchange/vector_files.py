"""Files of vectors that other programs wrote, as streams of items. Their bytes say what they are, not their names.

* FastESM / FastPLMs (github.com/Synthyra/FastPLMs): an SQLite file with the table `embeddings`, in all three of its
  layouts (fastplms/embedding_mixin.py), or with `runs`, `records` and `tensors` (src/fastplms/embeddings/storage.py);
  and a .pth of {sequence: tensor}. Their keys are sequences.
* fair-esm's scripts/extract.py: a folder of `<label>.pt`, one a protein.

HDF5 is read in `exchange.hdf5_files`.

No code in a file is run: SQLite opens read-only, and of torch files the tensors alone are read.
"""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote

import numpy as np

from protea_ray.errors import ConfigError, InputError

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class VectorItem:
    """One protein of a file, named by id or by sequence, with what the file holds of it.

    `vectors`: (D,) by pooling; the name is "" where the file does not say which pooling made the vector. `residues`:
    (residues, D). `matrix_is` "whole": one row a residue; "with_ends": possibly also rows of the start and end tokens;
    "cut": the last residues may be missing. `problem`: a word to count by when the item cannot be read. `key`: of the
    protein, in files that this package exported.
    """

    id: str | None
    sequence: str | None
    vectors: dict[str, np.ndarray]
    residues: np.ndarray | None = None
    matrix_is: Literal["whole", "with_ends", "cut"] = "whole"
    problem: str | None = None
    key: bytes | None = None


def item_of(id: str | None, sequence: str | None, array: np.ndarray | None, *, with_ends: bool = False) -> VectorItem:
    """The item of an array: a vector (D,) or (1, D), or a matrix (residues, D); another shape is a problem."""
    if array is None:
        return VectorItem(id, sequence, {}, problem="unreadable")
    if array.ndim == 2 and array.shape[0] == 1 and (sequence is None or len(sequence) > 1):
        return item_of(id, sequence, array.reshape(-1))
    if array.ndim == 1 and array.size:
        return VectorItem(id, sequence, {"": array})
    if array.ndim == 2 and array.size:
        return VectorItem(id, sequence, {}, array, "with_ends" if with_ends else "whole")
    return VectorItem(id, sequence, {}, problem="shape")


_POOLED = {"mean_representations": "mean", "bos_representations": "cls"}
_RESIDUES = "representations"


def load(file: Path | IO[bytes], name: str) -> Any:
    """Read a file of tensors and plain containers of them; raises InputError for anything else a pickle could hold."""
    import torch

    mapped = isinstance(file, Path) and zipfile.is_zipfile(file)  # a large .pth is then read as it is used
    try:
        # these formats are nothing but torch's; weights_only refuses every pickle that is more than tensors
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)  # noqa: TID251
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{name} is not a plain file of tensors, and nothing else is read: {reason}") from error


def as_array(tensor: Any) -> np.ndarray | None:
    """A floating-point tensor as numpy, bfloat16 widened to float32; None for anything else."""
    import torch

    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        return None
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def pth_items(path: Path) -> Iterator[VectorItem]:
    """Items of FastESM's .pth, {sequence: tensor}; raises InputError for other contents."""
    held = load(path, str(path))
    if not isinstance(held, dict) or not all(isinstance(key, str) for key in held):
        raise InputError(f"{path} holds no mapping from sequences to tensors; only FastESM's .pth is known")
    for sequence, tensor in held.items():
        yield item_of(None, sequence, as_array(tensor), with_ends=True)


def esm_items(folder: Path, layer: int | None) -> Iterator[VectorItem]:
    """Items of fair-esm's folder: one for each .pt below `folder`, in the order of their names.

    `layer` chooses one of several. Raises ConfigError when a file holds several and `layer` is none of them, InputError
    for a folder without .pt files and for a .pt file of another program.
    """
    files = sorted(folder.rglob("*.pt"))
    if not files:
        fastplms = any(folder.rglob("*.safetensors"))
        hint = (
            "; of FastPLMs' files those of format='sqlite' are read, not its folder of safetensors" if fastplms else ""
        )
        raise InputError(f"{folder} holds no .pt file{hint}")
    for file in files:
        held = load(file, str(file))
        if not isinstance(held, dict) or "label" not in held:
            raise InputError(f"{file} is not what fair-esm's extract.py writes: it has no label")
        yield _esm_item(held, layer, file)


def _esm_item(held: dict[str, Any], layer: int | None, file: Path) -> VectorItem:
    """The item of one .pt; extract.py may have cut the protein at its --truncation_seq_length."""
    vectors = {
        pooling: array
        for name, pooling in _POOLED.items()
        if (array := as_array(_tensor_of_layer(held.get(name), layer, file))) is not None
    }
    residues = as_array(_tensor_of_layer(held.get(_RESIDUES), layer, file))
    problem = None if vectors or residues is not None else "unreadable"
    return VectorItem(str(held["label"]), None, vectors, residues, "cut", problem)


def _tensor_of_layer(by_layer: Any, layer: int | None, file: Path) -> Any:
    """The tensor of `layer`, or of the only layer; None for contents without layers. Raises ConfigError."""
    if not isinstance(by_layer, dict) or not by_layer:
        return None
    if layer is None and len(by_layer) == 1:
        return next(iter(by_layer.values()))
    if layer not in by_layer:
        have = ", ".join(str(number) for number in sorted(by_layer))
        raise ConfigError(f"{file.name} holds the layers {have}; name one of them with --layer", where="layer")
    return by_layer[layer]


_COMPACT = 1  # version, the first byte
_COMPACT_DTYPES = {0: np.float16, 1: np.float16, 2: np.float32}  # 1 is bfloat16, written as float16
_MOST_AXES = 4
_FLOATS = ("float16", "float32", "float64", "bfloat16")
_LATEST_RUN = "SELECT run_id FROM runs ORDER BY {order} DESC, rowid DESC LIMIT 1"


def sqlite_items(path: Path) -> Iterator[VectorItem]:
    """Items of FastESM's SQLite; of a file with runs, those of the newest. Raises InputError for other tables."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as file:
            yield from _stored_items(file, path)
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be read as SQLite: {error}") from error


def _stored_items(file: sqlite3.Connection, path: Path) -> Iterator[VectorItem]:
    """Items of whichever of FastESM's layouts the tables have."""
    tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if {"runs", "records", "tensors"} <= tables:
        return _items_of_newest_run(file)
    if "embeddings" in tables and {"sequence", "embedding"} <= _columns(file, "embeddings"):
        return _items_of_table(file)
    raise InputError(f"{path} holds the tables {', '.join(sorted(tables)) or 'none'}; FastESM's has `embeddings`, or "
                     "`runs`, `records` and `tensors`")  # fmt: skip


def _columns(file: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in file.execute(f"PRAGMA table_info({table})")}


def _items_of_newest_run(file: sqlite3.Connection) -> Iterator[VectorItem]:
    """Items of the layout with `runs`, `records` and `tensors`."""
    order = "published_order" if "published_order" in _columns(file, "runs") else "created_at"
    run = file.execute(_LATEST_RUN.format(order=order)).fetchone()
    query = (
        "SELECT record_id, sequence, dtype, shape_json, data FROM records JOIN tensors USING (run_id, position) "
        "WHERE run_id = ? ORDER BY position"
    )
    for id, sequence, dtype, shape, data in file.execute(query, run or ("",)):
        yield item_of(id, sequence, _typed_array(data, dtype, json.loads(shape)), with_ends=True)


def _items_of_table(file: sqlite3.Connection) -> Iterator[VectorItem]:
    """Items of the layouts with `embeddings`, whose newer one has columns for shape and dtype."""
    described = {"shape", "dtype"} <= _columns(file, "embeddings")
    more = ", shape, dtype" if described else ", NULL, NULL"
    for sequence, data, shape, dtype in file.execute(f"SELECT sequence, embedding{more} FROM embeddings"):
        if shape and dtype:
            array = _typed_array(data, dtype, [int(axis) for axis in shape.split(",") if axis])
        else:
            array = _untyped_array(data)
        yield item_of(None, sequence, array, with_ends=True)


def _typed_array(data: bytes, dtype: str, shape: list[int]) -> np.ndarray | None:
    """Values of a named type in `shape`; None for another type or when `data` is not as long as that takes."""
    if dtype not in _FLOATS:
        return None
    wide = dtype == "bfloat16"  # the upper half of a float32
    size = 2 if wide else np.dtype(dtype).itemsize
    if len(data) != size * int(np.prod(shape, dtype=np.int64)):
        return None
    if wide:
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return np.frombuffer(data, dtype).reshape(shape)


def _untyped_array(data: bytes) -> np.ndarray | None:
    """A blob with a header, a tensor that torch saved, or, in the oldest files, bare float32 values; else None."""
    compact = _array_with_header(data)
    if compact is not None:
        return compact
    if data[:4] == b"PK\x03\x04":
        return as_array(load(io.BytesIO(data), "a tensor in the file"))
    return np.frombuffer(data, np.float32) if data and len(data) % 4 == 0 else None


def _array_with_header(data: bytes) -> np.ndarray | None:
    """FastESM's compact blob: version, dtype code, rank, shape, then the values. None for anything else."""
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
