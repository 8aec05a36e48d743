"""Residue matrices and logits, one row for each residue. Indexing reads the bytes of the rows asked for, no others."""

from __future__ import annotations

from typing import Any

import lance
import numpy as np

from protea_ray.errors import StoreError
from protea_ray.store.object_store_errors import outage_as_store_error
from protea_ray.store.rows import RESIDUES


class ResidueMatrix:
    """(residues, width) of one protein, or of one chunk of it; rows are fetched when they are indexed.

    `matrix[100:200]` is an array of 100 rows read by one range request of 100 x width x itemsize bytes,
    `matrix[5]` one row, `matrix[:]` all. `start` is the first row's position in the protein. `tokens` names the
    columns where they are logits.
    """

    def __init__(
        self,
        table: lance.LanceDataset,
        row_id: int,
        start: int,
        width: int,
        dtype: str,
        column: str = RESIDUES,
        tokens: tuple[str, ...] | None = None,
    ) -> None:
        self.tokens = tokens
        self.start = start
        self.dtype = np.dtype(dtype)
        self._row_bytes = width * self.dtype.itemsize
        (blob,) = table.take_blobs(column, ids=[row_id])
        if blob is None:
            raise StoreError(f"row {row_id} of {table.uri} has no {column}; run `protea-ray verify`")
        self._blob = blob
        self.shape = (self._blob.size() // self._row_bytes, width)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"ResidueMatrix(residues={self.shape[0]}, width={self.shape[1]}, dtype={self.dtype})"

    def __getitem__(self, item: int | slice) -> np.ndarray:
        if isinstance(item, slice):
            first, stop, step = item.indices(len(self))
            if step < 1:
                raise IndexError("residues are read forwards; reverse the array that comes back")
            return self._read(first, max(first, stop))[::step]
        position = range(len(self))[item]  # raises IndexError past the ends
        return self._read(position, position + 1)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    @outage_as_store_error()
    def _read(self, first: int, stop: int) -> np.ndarray:
        if first == stop:
            return np.zeros((0, self.shape[1]), self.dtype)
        raw = self._blob.read_range(first * self._row_bytes, (stop - first) * self._row_bytes)
        return np.frombuffer(raw, self.dtype).reshape(-1, self.shape[1])
