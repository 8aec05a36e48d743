"""Verify: whether every protein has a vector or a reject, every row is there once, and every value is as written.

All rows of the checked tables are read, spaces fragment by fragment; nothing is written. Findings name units and keys.
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
import pyarrow.compute as pc

from protea_ray.errors import StoreError
from protea_ray.sequences.records import KEY, key_of
from protea_ray.store.aliases import list_aliases
from protea_ray.store.findings import Finding, Report, first_keys
from protea_ray.store.keys import KeyIndex, words
from protea_ray.store.ledger import rejected_keys
from protea_ray.store.location import ALIASES_TABLE, LEASE_TABLE, OWN_TABLES, PROTEINS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.object_store_errors import is_outage, message, outage_as_store_error
from protea_ray.store.rows import CHECKSUM, matrix_widths, row_checksums, vector_facts
from protea_ray.store.spaces import SpaceInfo, open_space
from protea_ray.store.tables import ALL_VERSIONS, find_table, open_table

_BATCH = 1024  # rows; with residue matrices of 400 x 1280 halves, 1 GB would be 1,000 rows
_BATCH_WITH_MATRICES = 64
_RECORDS = pa.schema([pa.field("key", KEY), pa.field("is_3di", pa.bool_())])


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
        return _concat([p.column("key") for p in self.parts])

    def column(self, name: str) -> list[Any]:
        return [value for p in self.parts for value in p.column(name).to_pylist()]


def read_space(location: Location, name: str) -> tuple[ReadRows, list[Finding]]:
    """Read all rows of a space; returns them and what is wrong with them."""
    table = open_table(location.table(name))
    findings = list(_check_columns(table, name))
    rows = ReadRows()
    if findings:
        return rows, findings
    for fragment in table.get_fragments():
        findings += _read_fragment(table, name, fragment, rows)
    return rows, [*findings, *_duplicates(name, rows)]


def _check_columns(table: lance.LanceDataset, name: str) -> Iterator[Finding]:
    """Compare the columns with the widths in the space's metadata."""
    for pooling, width in vector_facts(table.schema)["widths"].items():
        kind = table.schema.field(pooling).type
        if not pa.types.is_fixed_size_list(kind) or kind.list_size != width:
            yield Finding("dimension", name, f"{pooling} is {kind}, the space's vectors have {width} values")


def _read_fragment(
    table: lance.LanceDataset, name: str, fragment: lance.LanceFragment, rows: ReadRows
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
            for kind, unit, key in _faults(batch, facts):
                faults[kind, unit].append(key)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a damaged file makes Lance raise, and some damage makes it panic
        if is_outage(error):
            raise
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
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as second:
        if is_outage(second):
            raise
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


@outage_as_store_error()
def verify(location: Location, space: str | None = None) -> Report:
    """Check one space, or all of them, and the tables beside them.

    Raises UnknownSpaceError for a space that does not exist, and StoreError in an outage, in which nothing is known
    of the tables. Everything else that is wrong is a finding.
    """
    spaces, findings = _readable_spaces(location) if space is None else ([open_space(location, space).name], [])
    proteins, of_proteins = _check_proteins(location)
    findings += of_proteins
    rows = {PROTEINS_TABLE: len(proteins)}
    for name in spaces:
        held, of_space = read_space(location, name)
        rows[name] = held.count
        findings += [*of_space, *_compare(location, name, held, proteins)]
    findings += [f for name in location.tables() if name != LEASE_TABLE for f in _orphans(location, name)]
    findings += [*_check_aliases(location), *_check_sources(location)]
    return Report(location.uri, rows, tuple(findings))


def _readable_spaces(location: Location) -> tuple[list[str], list[Finding]]:
    """Names of the spaces whose tables open, and a finding for every table that does not open."""
    spaces: list[str] = []
    broken: list[Finding] = []
    for name in location.tables():
        try:
            table = open_table(location.table(name))
        except StoreError as error:
            if is_outage(error):
                raise
            broken.append(Finding("unreadable", name, str(error)))
            continue
        if name not in OWN_TABLES and SpaceInfo.from_schema(table.schema) is not None:
            spaces.append(name)
    return spaces, broken


def _check_proteins(location: Location) -> tuple[pa.Table, list[Finding]]:
    """Key and alphabet (`is_3di`: lower-case letters) of all records, and findings: every key is compared with the
    record's letters."""
    table = find_table(location.table(PROTEINS_TABLE))
    read: list[pa.RecordBatch] = []
    wrong: list[bytes] = []
    try:
        for batch in table.to_batches(columns=["key", "sequence"]) if table is not None else ():
            is_3di = pc.utf8_is_lower(batch.column("sequence"))
            read.append(pa.record_batch([batch.column("key"), is_3di], schema=_RECORDS))
            pairs = zip(batch.column("key").to_pylist(), batch.column("sequence").to_pylist(), strict=True)
            wrong += [key for key, letters in pairs if key != key_of(letters)]
    except (OSError, ValueError, UnicodeError) as error:
        if is_outage(error):
            raise
        return pa.Table.from_batches(read, _RECORDS), [Finding("unreadable", PROTEINS_TABLE, message(error))]
    detail = f"{len(wrong)} records whose key is not that of their letters"
    findings = [Finding("wrong_key", PROTEINS_TABLE, detail, len(wrong), keys=first_keys(wrong))] if wrong else []
    return pa.Table.from_batches(read, _RECORDS), findings


def _concat(keys: list[pa.Array]) -> pa.Array:
    return pa.concat_arrays(keys) if keys else pa.array([], KEY)


def _compare(location: Location, space: str, held: ReadRows, proteins: pa.Table) -> Iterator[Finding]:
    """Find the proteins of the space's alphabet without a vector or a reject, and the vectors without a protein."""
    of_3di = open_space(location, space).config.get("alphabet") == "3di"
    mine = proteins["is_3di"] if of_3di else pc.invert(proteins["is_3di"])
    distinct = proteins["key"].filter(mine).unique()
    has_result = KeyIndex(held.keys).contains(distinct) | KeyIndex(rejected_keys(location, space)).contains(distinct)
    lost = distinct.filter(pa.array(~has_result))
    if len(lost):
        detail = f"{len(lost)} proteins have neither a vector nor a reject; embed again to fill them"
        yield Finding("missing", space, detail, len(lost), keys=first_keys(lost.to_pylist()))
    strange = held.keys.unique()
    strange = strange.filter(pa.array(~KeyIndex(proteins["key"]).contains(strange)))
    if len(strange):
        detail = f"{len(strange)} keys belong to no protein of the store"
        yield Finding("no_protein", space, detail, len(strange), keys=first_keys(strange.to_pylist()))


def _orphans(location: Location, name: str) -> Iterator[Finding]:
    """Find the files that no version names: fragments of a crash, or of attempts that were repeated."""
    try:
        table = open_table(location.table(name))
        litter = table.explain_cleanup_old_versions(retain_versions=ALL_VERSIONS, delete_unverified=True).stats
    except (OSError, StoreError) as error:  # a table that does not open is reported as unreadable
        if is_outage(error):
            raise
        return
    if litter.data_files_removed:
        detail = f"{litter.data_files_removed} files, {litter.bytes_removed} bytes, of writes that were never committed"
        yield Finding("orphans", name, detail, litter.data_files_removed)


def _check_aliases(location: Location) -> Iterator[Finding]:
    """Find the aliases whose space or version does not exist."""
    for alias in list_aliases(location).values():
        try:
            open_space(location, alias.space, alias.version)
        except StoreError as error:
            if is_outage(error):
                raise
            yield Finding("dangling_alias", ALIASES_TABLE, f"{alias.alias} points to {alias.space}: {error}")


def _check_sources(location: Location) -> Iterator[Finding]:
    """Find the sources with rows in proteins but none in `sources`: their ingest was interrupted."""
    table = find_table(location.table(PROTEINS_TABLE))
    known = find_table(location.table(SOURCES_TABLE))
    recorded = set(known.to_table(columns=["source"])["source"].to_pylist()) if known is not None else set()
    counts: dict[str, int] = {}
    for batch in table.to_batches(columns=["source"]) if table is not None else ():
        for item in batch.column("source").value_counts().to_pylist():
            counts[item["values"]] = counts.get(item["values"], 0) + item["counts"]
    for label in counts.keys() - recorded:
        detail = f"{counts[label]} records of {label}, whose ingest did not finish"
        yield Finding("unrecorded_source", PROTEINS_TABLE, detail, counts[label])
