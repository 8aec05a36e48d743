"""Uncommitted fragments: what workers write. Only the driver makes them visible, see commit.py.

A fragment travels to the driver as JSON. Its files are orphans until a commit names them; upkeep removes those of
attempts that were never committed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pyarrow as pa
from lance.fragment import write_fragments as lance_write_fragments

from protea_ray.errors import StoreError
from protea_ray.store.object_store_errors import plain
from protea_ray.store.tables import PAUSES, ensure_table

Rows = pa.Table | Callable[[], pa.RecordBatchReader]


def write_fragments(uri: str, data: Rows, schema: pa.Schema) -> list[str]:
    """Write rows as uncommitted fragments of the table at `uri`; returns their metadata, one JSON string each.

    `data` is a table, or a function that opens a fresh reader: every attempt calls it anew, because a retry on a
    consumed reader writes what is left of it and reports success (15 of 20 rows in lance-ray 0.5). The table is
    created, empty, when it is missing. No rows, no fragments. Raises StoreError when the store does not take the
    files, and whatever the reader itself raised, unchanged and without another attempt.
    """
    ensure_table(uri, schema)
    problem: Exception | None = None
    for pause in PAUSES:
        time.sleep(pause)
        rows = _Rows(data, schema)
        try:
            written = lance_write_fragments(rows.reader(), uri, schema=schema, mode="append")
        except Exception as error:
            if rows.raised is not None:
                raise rows.raised from None
            if not isinstance(error, OSError):
                raise
            problem = error
            continue
        return [json.dumps(f.to_json()) for f in written if f.physical_rows]
    raise StoreError(f"{uri} did not take a data file: {plain(problem) if problem else ''}") from problem


class _Rows:
    """One pass over the data that remembers what its source raised: Lance only passes the message on."""

    def __init__(self, data: Rows, schema: pa.Schema) -> None:
        self._data = data
        self._schema = schema
        self.raised: BaseException | None = None

    def reader(self) -> pa.RecordBatchReader:
        if callable(self._data):
            return pa.RecordBatchReader.from_batches(self._schema, self._watched(self._data))
        same = self._data.schema.equals(self._schema)
        return (self._data if same else self._data.cast(self._schema)).to_reader()

    def _watched(self, opened: Callable[[], pa.RecordBatchReader]) -> Iterator[pa.RecordBatch]:
        try:
            yield from opened()
        except BaseException as error:
            self.raised = error
            raise
