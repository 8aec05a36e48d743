"""Which keys, units, records and sources a store holds, read from the tables that hold them.

There is no other record of what is done, so none can disagree with the tables.

All keys of 10 million rows are read in 0.2 s, so nothing is cached or indexed here.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.config.recipe import AlphabetName
from protea_ray.sequences.records import KEY
from protea_ray.store.location import PROTEINS_TABLE, REJECTS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.sql import among, both, equals
from protea_ray.store.tables import find_table, open_table

ROW_ID = "_rowid"
FIRST_ROW = "chunk_start = 0"  # every stored protein has exactly one row that begins at its first residue


def alphabet_suffix(alphabet: AlphabetName) -> str:
    """End of the label and the variant of a source that was read in this alphabet; empty for amino acids."""
    return "" if alphabet == "aa" else f",alphabet={alphabet}"


def of_alphabet(alphabet: AlphabetName | None) -> str:
    """Filter for the records that were read in this alphabet (None: amino acids): their source's label ends so."""
    has_3di = f"source LIKE '%{alphabet_suffix('3di')}'"
    return has_3di if alphabet == "3di" else f"NOT {has_3di}"


def present_keys(location: Location, space: str, version: int | None = None) -> Iterator[pa.Array]:
    """Read the keys of a space, each once, in batches; none for a space that does not exist yet."""
    table = find_table(location.table(space), version)
    if table is None:
        return
    for batch in table.to_batches(columns=["key"], filter=FIRST_ROW):
        yield batch.column("key")


def units(location: Location, space: str) -> dict[str, int]:
    """Count the rows of each unit that a space holds, by the unit's name."""
    table = find_table(location.table(space))
    rows: dict[str, int] = {}
    for batch in table.to_batches(columns=["unit"]) if table is not None else ():
        for count in batch.column("unit").value_counts().to_pylist():
            rows[count["values"]] = rows.get(count["values"], 0) + count["counts"]
    return rows


def rejected_keys(location: Location, space: str) -> pa.Array:
    """Read the distinct keys that earlier runs rejected while embedding into `space`."""
    table = find_table(location.table(REJECTS_TABLE))
    if table is None:
        return pa.array([], KEY)
    return table.to_table(columns=["key"], filter=of_space(space))["key"].combine_chunks().unique()


def of_space(space: str) -> str | None:
    """Filter for the rejects, with keys, of runs that embedded into `space`."""
    return both(equals("stage", "embed"), equals("space", space), "key IS NOT NULL")


def scan_proteins(
    location: Location,
    labels: Sequence[str] | None,
    columns: Sequence[str],
    *,
    filter: str | None = None,
    version: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read the records of the given sources (None: of all) in row order, with their row ids in `_rowid`.

    Row ids hold for one version of the table; nobody moves rows while this process holds the lease.
    """
    table = find_table(location.table(PROTEINS_TABLE), version)
    if table is None:
        return
    wanted = both(among("source", labels) if labels is not None else None, filter)
    yield from table.to_batches(columns=list(columns), filter=wanted, with_row_id=True)


def take_proteins(
    location: Location, row_ids: Sequence[int] | np.ndarray, columns: Sequence[str], *, version: int | None = None
) -> pa.Table:
    """Read the records with these row ids, in their order."""
    table = open_table(location.table(PROTEINS_TABLE), version)
    # lance has no public call that takes row ids rather than offsets
    return table._take_rows(  # pyright: ignore[reportPrivateUsage]
        np.asarray(row_ids, dtype=np.uint64).tolist(), columns=list(columns)
    )


def recorded_sources(location: Location, variant: str) -> dict[str, dict[str, Any]]:
    """Read the rows of `sources` that were read with these options, by the file's digest; one scan for all of them."""
    table = find_table(location.table(SOURCES_TABLE))
    if table is None:
        return {}
    return {row["digest"]: row for row in table.to_table(filter=equals("variant", variant)).to_pylist()}
