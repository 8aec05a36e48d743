"""Is everything there, once, and as it was written? Reads every row of the tables it checks; writes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import lance
import pyarrow as pa

from protea_ray.errors import StoreError
from protea_ray.sequences.record import key_of
from protea_ray.store.aliases import list_aliases
from protea_ray.store.findings import Finding, Report, named
from protea_ray.store.keys import KeyIndex
from protea_ray.store.ledger import rejected_keys
from protea_ray.store.location import ALIASES_TABLE, LEASE_TABLE, OWN_TABLES, PROTEINS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.object_store_errors import answered, plain, unanswered
from protea_ray.store.spaces import SpaceInfo, open_space
from protea_ray.store.tables import find_table, open_table
from protea_ray.store.verify_space import Rows, read_space

_ALL_VERSIONS = 1_000_000_000


@answered()
def verify(location: Location, space: str | None = None) -> Report:
    """Check one space, or all of them, and the tables beside them.

    Raises UnknownSpaceError for a space that does not exist and StoreError for a store that does not answer, of which
    nothing can be said; all else that is wrong is a finding.
    """
    spaces, findings = _spaces(location) if space is None else ([open_space(location, space).name], [])
    proteins, found = _proteins(location)
    findings += found
    rows = {PROTEINS_TABLE: len(proteins)}
    for name in spaces:
        held, found = read_space(location, name)
        rows[name] = held.count
        findings += [*found, *_compare(location, name, held, proteins)]
    findings += [f for name in location.tables() if name != LEASE_TABLE for f in _orphans(location, name)]
    findings += [*_aliases(location), *_sources(location)]
    return Report(location.uri, rows, tuple(findings))


def _spaces(location: Location) -> tuple[list[str], list[Finding]]:
    """Spaces that open, and a finding for every table that does not."""
    spaces, broken = [], []
    for name in location.tables():
        try:
            table = open_table(location.table(name))
        except StoreError as error:
            if unanswered(error):
                raise
            broken.append(Finding("unreadable", name, str(error)))
            continue
        if name not in OWN_TABLES and SpaceInfo.from_schema(table.schema) is not None:
            spaces.append(name)
    return spaces, broken


def _proteins(location: Location) -> tuple[pa.Array, list[Finding]]:
    """Keys of all records, each compared with its letters."""
    table = find_table(location.table(PROTEINS_TABLE))
    keys: list[pa.Array] = []
    wrong: list[bytes] = []
    try:
        for batch in table.to_batches(columns=["key", "sequence"]) if table is not None else ():
            keys.append(batch.column("key"))
            pairs = zip(batch.column("key").to_pylist(), batch.column("sequence").to_pylist(), strict=True)
            wrong += [key for key, letters in pairs if key != key_of(letters)]
    except (OSError, ValueError, UnicodeError) as error:
        if unanswered(error):
            raise
        whole = pa.concat_arrays(keys) if keys else pa.array([], pa.binary(16))
        return whole, [Finding("unreadable", PROTEINS_TABLE, plain(error))]
    detail = f"{len(wrong)} records whose key is not that of their letters"
    found = [Finding("wrong_key", PROTEINS_TABLE, detail, len(wrong), keys=named(wrong))] if wrong else []
    return (pa.concat_arrays(keys) if keys else pa.array([], pa.binary(16))), found


def _compare(location: Location, space: str, held: Rows, proteins: pa.Array) -> Iterator[Finding]:
    """Proteins without a vector or a reject, and vectors without a protein."""
    distinct = proteins.unique()
    answered = KeyIndex(held.keys).contains(distinct) | KeyIndex(rejected_keys(location, space)).contains(distinct)
    lost = distinct.filter(pa.array(~answered))
    if len(lost):
        detail = f"{len(lost)} proteins have neither a vector nor a reject; embed again to fill them"
        yield Finding("missing", space, detail, len(lost), keys=named(lost.to_pylist()))
    strange = held.keys.unique()
    strange = strange.filter(pa.array(~KeyIndex(distinct).contains(strange)))
    if len(strange):
        detail = f"{len(strange)} keys belong to no protein of the store"
        yield Finding("no_protein", space, detail, len(strange), keys=named(strange.to_pylist()))


def _orphans(location: Location, name: str) -> Iterator[Finding]:
    """Files that no version names: fragments of a crash or of attempts that were repeated."""
    try:
        found = unreferenced(open_table(location.table(name)))
    except (OSError, StoreError) as error:  # a table that does not open is reported as unreadable
        if unanswered(error):
            raise
        return
    if found.data_files_removed:
        detail = f"{found.data_files_removed} files, {found.bytes_removed} bytes, of writes that were never committed"
        yield Finding("orphans", name, detail, found.data_files_removed)


def unreferenced(table: lance.LanceDataset) -> lance.CleanupStats:
    """What a cleanup that keeps every version would remove."""
    return table.explain_cleanup_old_versions(retain_versions=_ALL_VERSIONS, delete_unverified=True).stats


def _aliases(location: Location) -> Iterator[Finding]:
    for alias in list_aliases(location).values():
        try:
            open_space(location, alias.space, alias.version)
        except StoreError as error:
            if unanswered(error):
                raise
            yield Finding("dangling_alias", ALIASES_TABLE, f"{alias.alias} points to {alias.space}: {error}")


def _sources(location: Location) -> Iterator[Finding]:
    """Sources with rows in proteins but none in `sources`: their ingest was interrupted."""
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
