"""Reading HDF5 files with one data set a protein, as biotrainer and bio_embeddings write them.

The id is the attribute `original_id`, or the data set's own name, which is a hash in newer files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError, InputError
from protea_ray.sequences.accessions import StoredIds, match_ids

if TYPE_CHECKING:
    import h5py

ID_ATTRIBUTE = "original_id"
KEY_ATTRIBUTE = "protea_key"  # of our own exports: ids may stand for several sequences


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """The file, read-only; what h5py raises of a damaged one, also while it is read, becomes an InputError."""
    try:
        import h5py
    except ImportError as error:
        raise ConfigError('reading HDF5 needs h5py: pip install "protea-ray[bio]"', where="import") from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"{path} cannot be read as HDF5: {error}") from error


def hdf5_text(value: Any) -> str:
    """Letters or an id that were written as bytes, as text or as an array of one of them."""
    one = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one)


def hdf5_id(member: Any, name: str) -> str:
    """What a data set or group says that its protein is called, else its own name."""
    return hdf5_text(member.attrs.get(ID_ATTRIBUTE, name))


def hdf5_key(member: Any) -> bytes | None:
    """The key of the protein in a file that was exported here; None in another one."""
    try:
        return bytes.fromhex(hdf5_text(member.attrs.get(KEY_ATTRIBUTE, ""))) or None
    except ValueError:
        return None


def vectors_by_id(path: Path, ids: Sequence[str]) -> list[np.ndarray | None]:
    """The vector (width,) of each id, None for one that the file lacks or has several of.

    Ids are matched as `import` does: as they stand, by accession, by entry name, and with punctuation replaced. Raises
    InputError for a file that cannot be read, and for data that are not one vector for each protein, all of one width.
    """
    with open_hdf5(path) as file:
        names = {hdf5_id(member, name): name for name, member in file.items()}
        stored = StoredIds(pa.array(list(names), pa.string()), hdf5=True)
        matched = match_ids(ids, stored).ids.to_pylist()
        found = [None if id is None else _vector(file[names[id]], id, path) for id in matched]
    widths = sorted({len(vector) for vector in found if vector is not None})
    if len(widths) > 1:
        raise InputError(f"{path} holds vectors of {len(widths)} widths, {widths[0]} and {widths[-1]} among them; one "
                         "width is wanted")  # fmt: skip
    return found


def _vector(member: Any, id: str, path: Path) -> np.ndarray:
    shape, kind = getattr(member, "shape", None), getattr(member, "dtype", None)
    if not shape or kind is None or kind.kind != "f" or shape[:-1] not in ((), (1,)) or not shape[-1]:
        raise InputError(f"{path}: {id} has {shape or 'no array'} where one vector of numbers is wanted; a file of "
                         "residues is made one vector a protein by their mean")  # fmt: skip
    values = np.asarray(member[()]).reshape(-1)
    return values if values.dtype == np.float16 else values.astype(np.float32)
