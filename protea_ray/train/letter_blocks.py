"""Letters of proteins by number, as bytes: of a table in memory, or read from a store in blocks.

A store's letters are read in blocks of 256 neighbouring proteins, as an epoch visits them, and the blocks used last are
kept: `KEPT` bytes, which is about 3 million proteins of usual length. A larger set is read again in each epoch, by the
block. No letter ever is a Python string here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

KEPT = 1 << 30
ROWS = 256  # of one block; a plan of steps visits 32 such blocks at a time


class Letters(Protocol):
    """Where letters come from: the ASCII bytes of a protein, (length,) uint8 and not to be written to; and ids."""

    def of(self, example: int) -> np.ndarray: ...
    def ids(self, examples: np.ndarray) -> list[str]: ...


class TableLetters:
    """Letters and ids of an Arrow table that is in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._ids = table["id"]
        self._offsets, self._bytes = bytes_of(table["sequence"])

    def of(self, example: int) -> np.ndarray:
        """The letters of one protein."""
        return self._bytes[self._offsets[example] : self._offsets[example + 1]]

    def ids(self, examples: np.ndarray) -> list[str]:
        """The ids of some proteins."""
        return self._ids.take(pa.array(examples)).to_pylist()


@dataclass
class StoreLetters:
    """Letters and ids of a store's proteins at one version; `row_ids` (n,) are those of the examples, in order."""

    location: Any
    version: int
    row_ids: np.ndarray
    kept: int = KEPT

    def __post_init__(self) -> None:
        self._blocks: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._held = 0

    def __reduce__(self) -> tuple[type[StoreLetters], tuple[Any, int, np.ndarray, int]]:
        """What another process is sent: where the letters are, not those that were read."""
        return StoreLetters, (self.location, self.version, self.row_ids, self.kept)

    def of(self, example: int) -> np.ndarray:
        """The letters of one protein. Raises StoreError when the store does not answer."""
        number, row = divmod(int(example), ROWS)
        offsets, letters = self._blocks.get(number) or self._read(number)
        self._blocks.move_to_end(number)
        return letters[offsets[row] : offsets[row + 1]]

    def ids(self, examples: np.ndarray) -> list[str]:
        """The ids of some proteins. Raises StoreError when the store does not answer."""
        return self._take(self.row_ids[examples], "id").to_pylist()

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a block, keep it, and let go of those used longest ago above the limit."""
        block = bytes_of(self._take(self.row_ids[number * ROWS : (number + 1) * ROWS], "sequence"))
        self._blocks[number] = block
        self._held += len(block[1])
        while self._held > self.kept and len(self._blocks) > 1:
            self._held -= len(self._blocks.popitem(last=False)[1][1])
        return block

    def _take(self, rows: np.ndarray, column: str) -> pa.ChunkedArray:
        from protea_ray.store.ledger import take_proteins
        from protea_ray.store.object_store_errors import outage_as_store_error

        with outage_as_store_error():
            return take_proteins(self.location, rows, [column], version=self.version)[column]


def bytes_of(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Texts as offsets (n + 1,) int64 and all their bytes, uint8."""
    whole = column.cast(pa.large_string()).combine_chunks()
    if not len(whole):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, offsets, values = whole.buffers()
    at = np.frombuffer(offsets, np.int64)[whole.offset : whole.offset + len(whole) + 1]
    return at, np.frombuffer(values, np.uint8)
