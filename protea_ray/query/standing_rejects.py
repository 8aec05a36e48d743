"""Which rejects still stand: the last row of each record, unless a later run stored its protein.

A run that tries again writes another row, and one that succeeds writes none. Columns are held as numbers, so that two
million rows take no more than some numbers of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from protea_ray.sequences.records import KEY_BYTES
from protea_ray.store.keys import KeyIndex, words
from protea_ray.store.ledger import present_keys
from protea_ray.store.location import Location

COMPARED = ["source", "line", "key", "space", "reason"]
_DTYPES = (np.int32, np.int64, np.uint64, np.uint64, np.int32, np.int32)  # of the fields of RejectRows, in their order


@dataclass
class _Codes:
    """Numbers for the texts of a column, in the order in which they are met; None is one of them."""

    of: dict[str | None, int] = field(default_factory=dict)

    def numbers(self, column: pa.Array) -> np.ndarray:
        """(n,) int32."""
        encoded = column.dictionary_encode(null_encoding="encode")
        here = [self.of.setdefault(text, len(self.of)) for text in encoded.dictionary.to_pylist()]
        return np.array(here, np.int32)[encoded.indices.to_numpy()] if here else np.zeros(0, np.int32)


@dataclass(frozen=True)
class RejectRows:
    """Rows of the table of rejects, each column a number (n,); texts are given by their codes."""

    source: np.ndarray
    line: np.ndarray
    high: np.ndarray
    low: np.ndarray
    space: np.ndarray
    reason: np.ndarray
    spaces: tuple[str | None, ...]
    reasons: tuple[str, ...]

    @classmethod
    def read(cls, batches: Iterable[pa.RecordBatch], count: int) -> RejectRows:
        """Read `count` rows of COMPARED, in their order, into arrays of that size: joined parts are held twice."""
        codes = {name: _Codes() for name in ("source", "space", "reason")}
        columns = tuple(np.empty(count, dtype) for dtype in _DTYPES)
        begin = 0
        for batch in batches:
            for column, numbers in zip(columns, _numbers(batch, codes), strict=True):
                column[begin : begin + batch.num_rows] = numbers
            begin += batch.num_rows
        source, line, high, low, space, reason = columns
        spaces, reasons = tuple(codes["space"].of), tuple(str(name) for name in codes["reason"].of)
        return cls(source, line, high, low, space, reason, spaces, reasons)

    def standing(self, location: Location) -> np.ndarray:
        """Whether a row still counts; (n,) booleans."""
        return self.last_of_each() & ~self.stored(location)

    def last_of_each(self) -> np.ndarray:
        """Whether a row is the last one of its record and space; (n,) booleans."""
        columns = (self.source, self.line, self.high, self.low, self.space)
        order = np.lexsort(columns)  # stable: equal rows stay in row order
        same = np.ones(max(len(order) - 1, 0), bool)
        for column in columns:
            ordered = column[order]
            same &= ordered[1:] == ordered[:-1]
        last = np.ones(len(order), bool)
        last[order[:-1][same]] = False
        return last

    def stored(self, location: Location) -> np.ndarray:
        """Whether the space that rejected a row's protein holds it now; (n,) booleans."""
        found = np.zeros(len(self.line), bool)
        for code, name in enumerate(self.spaces):
            if name is None:
                continue
            mine = np.flatnonzero(self.space == code)
            index = KeyIndex(self._keys(mine))
            for part in present_keys(location, name):
                found[mine[index.hits(part)[1]]] = True
        return found

    def _keys(self, rows: np.ndarray) -> pa.Array:
        pairs = np.stack([self.high[rows], self.low[rows]], axis=1).astype(">u8")
        return pa.Array.from_buffers(pa.binary(KEY_BYTES), len(rows), [None, pa.py_buffer(pairs.tobytes())])


def _numbers(batch: pa.RecordBatch, codes: dict[str, _Codes]) -> tuple[np.ndarray, ...]:
    high, low = words(batch.column("key").fill_null(bytes(KEY_BYTES)))
    return (
        codes["source"].numbers(batch.column("source")),
        batch.column("line").to_numpy(),
        high,
        low,
        codes["space"].numbers(batch.column("space")),
        codes["reason"].numbers(batch.column("reason")),
    )
