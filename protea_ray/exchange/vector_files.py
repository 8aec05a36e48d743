"""Files of vectors that other programs leave, each as a stream of items; what a file is, its own bytes say.

* FastESM / FastPLMs: an SQLite file with the table `embeddings` (all three of its layouts) or with `runs`, `records`
  and `tensors`, and a `.pth` of {sequence: tensor}. Their keys are sequences.
* fair-esm's `extract.py`: a folder of `<label>.pt`, one a protein.
* biotrainer: HDF5, one data set a protein, its id in the attribute `original_id`.

Nothing that could run code is read: SQLite opens read-only, and torch files by their weights alone.

biotrainer's HDF5: one data set a protein; see biotrainer/embedders/services/embedding_service.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from protea_ray.errors import ConfigError, InputError

_SQLITE, _HDF5, _ZIP = b"SQLite format 3\0", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_OLD_TORCH = b"\x80\x02"  # torch before 1.6


@dataclass(frozen=True)
class Item:
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
class Source:
    """A file or folder of vectors. `items(layer)` reads it from the beginning, one protein at a time."""

    path: Path
    format: str
    items: Callable[[int | None], Iterator[Item]]


def open_source(path: str | Path) -> Source:
    """What is at `path`; raises InputError when it is none of the formats above."""
    from protea_ray.exchange import hdf5, sqlite, tensors

    where = Path(path)
    if where.is_dir():
        return Source(where, "fair-esm", lambda layer: tensors.esm_folder(where, layer))
    try:
        with where.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error}") from error
    if head == _SQLITE:
        return Source(where, "fastesm-sqlite", lambda layer: sqlite.items(where))
    if head[:8] == _HDF5:
        return Source(where, "biotrainer-h5", lambda layer: hdf5.items(where))
    if head[:4] == _ZIP or head[:2] == _OLD_TORCH:
        return Source(where, "fastesm-pth", lambda layer: tensors.pth(where))
    raise InputError(
        f"{where} is not a file of vectors that can be imported: give FastESM's SQLite or .pth, "
        "a folder of fair-esm's .pt files, or biotrainer's .h5"
    )


def item_of(id: str | None, sequence: str | None, array: np.ndarray | None, *, with_ends: bool = False) -> Item:
    """A vector (D,) or (1, D), or a matrix (residues, D); anything else is an item with a problem."""
    if array is None:
        return Item(id, sequence, {}, problem="unreadable")
    if array.ndim == 2 and array.shape[0] == 1 and (sequence is None or len(sequence) > 1):
        return item_of(id, sequence, array.reshape(-1))
    if array.ndim == 1 and array.size:
        return Item(id, sequence, {"": array})
    if array.ndim == 2 and array.size:
        return Item(id, sequence, {}, array, "with_ends" if with_ends else "whole")
    return Item(id, sequence, {}, problem="shape")


_ID = "original_id"  # the data set's own name is a hash in newer files and a running number in old ones


def hdf5_items(path: Path) -> Iterator[Item]:
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
