"""The rejects of a store by reason, counted batch by batch: two million of them take no more than numbers of each.

What counts is what `query/rejected.py` lists: a protein that a later run stored is left out, and of a record that
several runs rejected the last row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import lance
import numpy as np
import pyarrow as pa

from protea_ray.pictures.store_data import RejectExample, RejectGroup
from protea_ray.query.rejected import files_of
from protea_ray.sequences.records import KEY_BYTES, REASON_MEANINGS, Reason
from protea_ray.store.keys import KeyIndex, words
from protea_ray.store.ledger import present_keys
from protea_ray.store.location import REJECTS_TABLE, Location
from protea_ray.store.tables import find_table

EXAMPLES = 20  # of each reason
LONGEST_TEXT = 300  # characters of an id or a detail; a rejected id may be a megabyte
_COLUMNS = ["source", "line", "key", "space", "reason"]
_DTYPES = (np.int32, np.int64, np.uint64, np.uint64, np.int32, np.int32)  # of the fields of _Rows, in their order


def read_reject_groups(location: Location) -> tuple[RejectGroup, ...]:
    """Count the rejects of each reason, most frequent first, with the first EXAMPLES of each."""
    table = find_table(location.table(REJECTS_TABLE))
    if table is None or not table.count_rows():
        return ()
    rows = _Rows.read(table)
    kept = np.flatnonzero(rows.last_of_each() & ~rows.stored(location))
    reasons = rows.reason[kept]
    groups = [_group(location, table, name, kept[reasons == code]) for code, name in enumerate(rows.reasons)]
    return tuple(sorted((g for g in groups if g.count), key=lambda group: (-group.count, group.reason)))


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
class _Rows:
    """All rows of the table, each column a number (n,); texts are given by their codes."""

    source: np.ndarray
    line: np.ndarray
    high: np.ndarray
    low: np.ndarray
    space: np.ndarray
    reason: np.ndarray
    spaces: tuple[str | None, ...]
    reasons: tuple[str, ...]

    @classmethod
    def read(cls, table: lance.LanceDataset) -> _Rows:
        """Read the table once, in row order, into arrays of their final size: joining parts would hold all twice."""
        codes = {name: _Codes() for name in ("source", "space", "reason")}
        columns = tuple(np.empty(table.count_rows(), dtype) for dtype in _DTYPES)
        begin = 0
        for batch in table.to_batches(columns=_COLUMNS):
            for column, numbers in zip(columns, _numbers(batch, codes), strict=True):
                column[begin : begin + batch.num_rows] = numbers
            begin += batch.num_rows
        source, line, high, low, space, reason = columns
        spaces, reasons = tuple(codes["space"].of), tuple(str(name) for name in codes["reason"].of)
        return cls(source, line, high, low, space, reason, spaces, reasons)

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
                first, count = index.find(part)
                found[mine[_positions(index.order, first[count > 0], count[count > 0])]] = True
        return found

    def _keys(self, rows: np.ndarray) -> pa.Array:
        pairs = np.stack([self.high[rows], self.low[rows]], axis=1).astype(">u8")
        return pa.Array.from_buffers(pa.binary(KEY_BYTES), len(rows), [None, pa.py_buffer(pairs.tobytes())])


def _positions(order: np.ndarray, first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """All positions behind hits of a KeyIndex."""
    starts = np.repeat(first - (np.cumsum(count) - count), count)
    return order[starts + np.arange(int(count.sum()))]


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


def _group(location: Location, table: lance.LanceDataset, reason: str, rows: np.ndarray) -> RejectGroup:
    meaning = REASON_MEANINGS[Reason(reason)] if reason in tuple(Reason) else ""
    return RejectGroup(reason, meaning, len(rows), tuple(_examples(location, table, rows[:EXAMPLES])))


def _examples(location: Location, table: lance.LanceDataset, rows: np.ndarray) -> Iterator[RejectExample]:
    if not len(rows):
        return
    found = table.take(rows.tolist(), columns=["id", "source", "line", "detail"])
    files = files_of(location, found["source"]).to_pylist()
    for row, file in zip(found.to_pylist(), files, strict=True):
        yield RejectExample(_cut(row["id"]), file, row["line"], _cut(row["detail"]))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
