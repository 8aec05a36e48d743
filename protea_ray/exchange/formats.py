"""Recognise files of vectors by their bytes, not by their names, and choose the reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from protea_ray.errors import ConfigError, InputError
from protea_ray.exchange.hdf5_files import FLAT, flat_items, group_items, hdf5_format
from protea_ray.exchange.vector_files import VectorItem, esm_items, pth_items, sqlite_items

_SQLITE, _HDF5, _ZIP = b"SQLite format 3\0", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_OLD_TORCH = b"\x80\x02"  # torch before 1.6


@dataclass(frozen=True)
class VectorFile:
    """A file or folder of vectors. `items(layer, dataset)` reads it from the beginning, one protein at a time.

    `has_groups`: a data set can be chosen. `is_hdf5`: ids may have lost their punctuation.
    """

    path: Path
    format: str
    items: Callable[[int | None, str | None], Iterator[VectorItem]]
    has_groups: bool = False
    is_hdf5: bool = False


def open_source(path: str | Path, dataset: str | None = None) -> VectorFile:
    """Recognise a file or folder of vectors.

    Raises InputError when it is none of the formats, ConfigError for a `dataset` where there is none to choose.
    """
    source = _recognised(Path(path))
    if dataset is not None and not source.has_groups:
        raise ConfigError(f"{source.path} has no groups with several vectors, so --dataset chooses nothing",
                          where="dataset")  # fmt: skip
    return source


def _recognised(where: Path) -> VectorFile:
    if where.is_dir():
        return VectorFile(where, "fair-esm", lambda layer, _: esm_items(where, layer))
    try:
        with where.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error}") from error
    if head == _SQLITE:
        return VectorFile(where, "fastesm-sqlite", lambda *_: sqlite_items(where))
    if head[:8] == _HDF5:
        return _hdf5(where)
    if head[:4] == _ZIP or head[:2] == _OLD_TORCH:
        return VectorFile(where, "fastesm-pth", lambda *_: pth_items(where))
    raise InputError(
        f"{where} is not a file of vectors that can be imported: give FastESM's SQLite or .pth, a folder of fair-esm's "
        ".pt files, or an .h5 of biotrainer, bio_embeddings, ProtTrans, UniProt or FANTASIA"
    )


def _hdf5(where: Path) -> VectorFile:
    format = hdf5_format(where)
    if format == FLAT:
        return VectorFile(where, format, lambda *_: flat_items(where), is_hdf5=True)
    return VectorFile(where, format, lambda layer, dataset: group_items(where, layer, dataset), True, True)
