"""What is in the store already. The tables are their own ledger: there is no side record that could disagree.

All keys of 10 million rows are read in 0.2 s, so nothing is cached or indexed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.sequences.records import KEY, PROTEINS_SCHEMA
from protea_ray.store.location import PROTEINS_TABLE, REJECTS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.sql import among, both, equals
from protea_ray.store.tables import find_table, open_table

ROW_ID = "_rowid"
FIRST_ROW = "chunk_start = 0"  # every stored protein has exactly one row that begins at its first residue


def present_keys(location: Location, space: str, version: int | None = None) -> Iterator[pa.Array]:
    """Keys of a space, each once, in batches; none for a space that does not exist yet."""
    table = find_table(location.table(space), version)
    if table is None:
        return
    for batch in table.to_batches(columns=["key"], filter=FIRST_ROW):
        yield batch.column("key")


def units(location: Location, space: str) -> dict[str, int]:
    """Rows of each unit that a space holds, by the unit's name."""
    table = find_table(location.table(space))
    rows: dict[str, int] = {}
    for batch in table.to_batches(columns=["unit"]) if table is not None else ():
        for count in batch.column("unit").value_counts().to_pylist():
            rows[count["values"]] = rows.get(count["values"], 0) + count["counts"]
    return rows


def rejected_keys(location: Location, space: str) -> pa.Array:
    """Distinct keys that earlier runs rejected while embedding into `space`."""
    table = find_table(location.table(REJECTS_TABLE))
    if table is None:
        return pa.array([], KEY)
    wanted = both(equals("stage", "embed"), equals("space", space), "key IS NOT NULL")
    return table.to_table(columns=["key"], filter=wanted)["key"].combine_chunks().unique()


def scan_proteins(
    location: Location,
    labels: Sequence[str] | None,
    columns: Sequence[str],
    *,
    filter: str | None = None,
    version: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """Records of the given sources (None: of all) in row order, with their row ids in `_rowid`.

    Row ids hold for one version of the table; under the lease nothing moves rows.
    """
    table = find_table(location.table(PROTEINS_TABLE), version)
    if table is None:
        return
    wanted = both(among("source", labels) if labels is not None else None, filter)
    yield from table.to_batches(columns=list(columns), filter=wanted, with_row_id=True)


def proteins_of(
    location: Location, labels: Sequence[str] | None, columns: Sequence[str], *, version: int | None = None
) -> pa.Table:
    """As `scan_proteins`, in one table. Ask for few columns: 28 bytes a record for key and length."""
    fields = [*(PROTEINS_SCHEMA.field(c) for c in columns), pa.field(ROW_ID, pa.uint64())]
    batches = list(scan_proteins(location, labels, columns, version=version))
    return pa.Table.from_batches(batches) if batches else pa.schema(fields).empty_table()


def take_proteins(
    location: Location, row_ids: Sequence[int] | np.ndarray, columns: Sequence[str], *, version: int | None = None
) -> pa.Table:
    """The records with these row ids, in the order asked for."""
    table = open_table(location.table(PROTEINS_TABLE), version)
    return table._take_rows(np.asarray(row_ids, dtype=np.uint64).tolist(), columns=list(columns))


def recorded_source(location: Location, digest: str, variant: str) -> dict[str, Any] | None:
    """The row of `sources` for these bytes read in this way, or None when they were never ingested whole."""
    table = find_table(location.table(SOURCES_TABLE))
    if table is None:
        return None
    rows = table.to_table(filter=both(equals("digest", digest), equals("variant", variant))).to_pylist()
    return rows[-1] if rows else None
