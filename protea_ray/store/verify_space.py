"""Reading every row of a space and checking it: columns, checksums, finite values, matrix sizes, repeats.

A space is read fragment by fragment, so that one file that cannot be read hides nothing of the others.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.store.findings import Finding, first_keys
from protea_ray.store.keys import concat_keys, words
from protea_ray.store.location import Location
from protea_ray.store.object_store_errors import message, raise_unless_damage
from protea_ray.store.rows import CHECKSUM, matrix_widths, row_checksums, vector_facts
from protea_ray.store.tables import open_table

_BATCH = 1024  # rows; with residue matrices of 400 x 1280 halves, 1 GB would be 1,000 rows
_BATCH_WITH_MATRICES = 64


@dataclass
class ReadRows:
    """Key, first residue and unit of every row that could be read."""

    parts: list[pa.RecordBatch] = field(default_factory=list[pa.RecordBatch])

    @property
    def count(self) -> int:
        return sum(p.num_rows for p in self.parts)

    @property
    def keys(self) -> pa.Array:
        """The key of each row."""
        return concat_keys([p.column("key") for p in self.parts])

    def column(self, name: str) -> list[Any]:
        return [value for p in self.parts for value in p.column(name).to_pylist()]


def read_space(location: Location, name: str, report: Reporter = SILENT) -> tuple[ReadRows, list[Finding]]:
    """Read all rows of a space; returns them and what is wrong with them."""
    table = open_table(location.table(name))
    findings = list(_check_columns(table, name))
    rows = ReadRows()
    if findings:
        return rows, findings
    report.work(f"checking {name}", "rows", table.count_rows())
    for fragment in table.get_fragments():
        findings += _read_fragment(table, name, fragment, rows, report)
    return rows, [*findings, *_duplicates(name, rows)]


def _check_columns(table: lance.LanceDataset, name: str) -> Iterator[Finding]:
    """Compare the columns with the widths in the space's metadata."""
    for pooling, width in vector_facts(table.schema)["widths"].items():
        kind = table.schema.field(pooling).type
        if not pa.types.is_fixed_size_list(kind) or kind.list_size != width:
            yield Finding("dimension", name, f"{pooling} is {kind}, the space's vectors have {width} values")


def _read_fragment(
    table: lance.LanceDataset, name: str, fragment: lance.LanceFragment, rows: ReadRows, report: Reporter
) -> list[Finding]:
    """Check one fragment, and add to `rows` those that were read before an error, if there was one."""
    facts = vector_facts(table.schema)
    faults: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    try:
        for batch in table.scanner(
            fragments=[fragment],
            batch_size=_BATCH_WITH_MATRICES if matrix_widths(facts) else _BATCH,
            blob_handling="all_binary",
        ).to_batches():
            rows.parts.append(batch.select(["key", "chunk_start", "unit"]))
            report.worked(rows.parts[-1].num_rows)
            for kind, unit, key in _faults(batch, facts):
                faults[kind, unit].append(key)
    except BaseException as error:  # a damaged file makes Lance raise, and some damage makes it panic
        raise_unless_damage(error)
        return [*_by_unit(name, faults), *_unreadable(table, name, fragment, error)]
    return list(_by_unit(name, faults))


def _faults(batch: pa.RecordBatch, facts: dict[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    """(kind, unit, key) of every bad row; a row whose checksum is wrong is not checked further."""
    columns = {n: batch.column(n) for n in batch.schema.names}
    expected = columns[CHECKSUM].to_numpy()
    matrices = matrix_widths(facts)
    bad = {"checksum": row_checksums(columns, list(facts["widths"]), list(matrices)) != expected}
    for pooling in facts["widths"]:
        flat = columns[pooling].flatten().to_numpy().reshape(batch.num_rows, -1)
        bad["non_finite"] = bad.get("non_finite", False) | ~np.isfinite(flat).all(axis=1)
    spans = (columns["chunk_end"].to_numpy() - columns["chunk_start"].to_numpy()).astype(np.int64)
    for name, width in matrices.items():
        row_bytes = width * np.dtype(facts["store_dtype"]).itemsize
        sizes = np.array([len(m) for m in columns[name].to_pylist()])
        bad["dimension"] = bad.get("dimension", False) | (sizes != spans * row_bytes)
    seen = np.zeros(batch.num_rows, bool)
    for kind, mask in bad.items():
        for row in np.flatnonzero(mask & ~seen):
            yield kind, columns["unit"][row].as_py(), columns["key"][row].as_py()
        seen |= mask


def _by_unit(name: str, faults: dict[tuple[str, str], list[bytes]]) -> Iterator[Finding]:
    """One finding for each kind of fault of a unit."""
    details = {
        "checksum": "rows are not as they were written",
        "non_finite": "vectors hold NaN or Inf",
        "dimension": "matrices have another size than their span",
    }
    for (kind, unit), keys in faults.items():
        yield Finding(kind, name, f"{len(keys)} {details[kind]}", len(keys), unit=unit, keys=first_keys(keys))


def _unreadable(
    table: lance.LanceDataset, name: str, fragment: lance.LanceFragment, error: BaseException
) -> Iterator[Finding]:
    """A finding for each unit of a fragment that cannot be read.

    The units' names can often still be read, as every column has its own pages.
    """
    file = fragment.metadata.files[0].path
    detail = f"{fragment.metadata.num_rows} rows in data file {file} cannot be read: {message(error)[:300]}"
    try:
        units = table.scanner(columns=["unit"], fragments=[fragment]).to_table()["unit"].unique().to_pylist()
    except BaseException as second:
        raise_unless_damage(second)
        units = [None]
    for unit in units:
        yield Finding("unreadable", name, detail, fragment.metadata.num_rows, unit=unit, fragment=fragment.fragment_id)


def _duplicates(name: str, rows: ReadRows) -> Iterator[Finding]:
    """Find the rows that repeat the key and chunk of an earlier row, by their unit."""
    if not rows.count:
        return
    high, low = words(rows.keys)
    start = np.array(rows.column("chunk_start"))
    order = np.lexsort((np.arange(len(high)), start, low, high))
    ordered = [column[order] for column in (high, low, start)]
    again = np.logical_and.reduce([column[1:] == column[:-1] for column in ordered])
    repeated = np.sort(order[1:][again])
    units, keys = rows.column("unit"), rows.keys
    by_unit: dict[str, list[bytes]] = defaultdict(list)
    for row in repeated:
        by_unit[units[row]].append(keys[row].as_py())
    for unit, again_stored in by_unit.items():
        detail = f"{len(again_stored)} rows repeat the key and chunk of an earlier row"
        yield Finding("duplicate", name, detail, len(again_stored), unit=unit, keys=first_keys(again_stored))
