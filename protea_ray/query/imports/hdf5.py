"""biotrainer's HDF5: one data set a protein; see biotrainer/embedders/services/embedding_service.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from protea_ray.errors import ConfigError, InputError
from protea_ray.exchange.vector_files import Item, item_of

_ID = "original_id"  # the data set's own name is a hash in newer files and a running number in old ones


def items(path: Path) -> Iterator[Item]:
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
