"""Verify: whether every protein has a vector or a reject, every row is there once, and every value is as written.

All rows of the checked tables are read, spaces fragment by fragment; nothing is written. Findings name units, keys and
sources. verify_space.py checks the rows of a space, verify_records.py the tables of records.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.errors import StoreError
from protea_ray.store.aliases import CURRENT, list_aliases
from protea_ray.store.findings import Finding, Report, first_keys
from protea_ray.store.keys import KeyIndex
from protea_ray.store.ledger import rejected_keys
from protea_ray.store.location import (
    ALIASES_TABLE,
    LEASE_TABLE,
    OWN_TABLES,
    PROTEINS_TABLE,
    REJECTS_TABLE,
    RUNS_TABLE,
    Location,
)
from protea_ray.store.object_store_errors import is_outage, outage_as_store_error
from protea_ray.store.spaces import SpaceInfo, open_space
from protea_ray.store.sql import among
from protea_ray.store.tables import ALL_VERSIONS, count_rows, open_table
from protea_ray.store.verify_records import Records, lost_tables, read_records
from protea_ray.store.verify_space import ReadRows, read_space

_PROTEINS_ARE_LOST = {"lost_table", "unreadable", "wrong_count"}


@outage_as_store_error()
def verify(location: Location, space: str | None = None) -> Report:
    """Check one space, or all of them, and the tables beside them.

    Raises UnknownSpaceError for a space that does not exist, and StoreError in an outage, in which nothing is known
    of the tables. Everything else that is wrong is a finding.
    """
    spaces, findings = _readable_spaces(location) if space is None else ([open_space(location, space).name], [])
    broken = {finding.table for finding in findings}
    records = read_records(location)
    findings += [f for f in records.findings if f.kind != "unreadable" or f.table not in broken]
    rows = {PROTEINS_TABLE: len(records.keys)}
    for name in spaces:
        held, of_space = read_space(location, name)
        rows[name] = held.count
        findings += [*of_space, *_compare(location, name, held, records)]
    findings += lost_tables(location, records, {name: rows[name] for name in spaces})
    if any(f.table == PROTEINS_TABLE and f.kind in _PROTEINS_ARE_LOST for f in findings):
        findings = [f for f in findings if f.kind != "no_protein"]  # their proteins come back when it is mended
    tables = location.tables()
    findings += [f for name in tables if name != LEASE_TABLE for f in _orphans(location, name)]
    findings += [*_check_lease(tables), *_check_aliases(location, spaces)]
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


def _compare(location: Location, space: str, held: ReadRows, records: Records) -> Iterator[Finding]:
    """Find the proteins of the space's alphabet without a vector or a reject, and the vectors without a protein."""
    of_3di = open_space(location, space).config.get("alphabet") == "3di"
    distinct = records.keys.filter(records.is_3di if of_3di else pc.invert(records.is_3di)).unique()
    if REJECTS_TABLE not in records.unreadable:
        has_result = KeyIndex(held.keys).contains(distinct)
        has_result |= KeyIndex(rejected_keys(location, space)).contains(distinct)
        lost = distinct.filter(pa.array(~has_result))
        if len(lost):
            detail = f"{len(lost)} proteins have neither a vector nor a reject; embed again to fill them"
            yield Finding("missing", space, detail, len(lost), keys=first_keys(lost.to_pylist()))
    strange = held.keys.unique()
    strange = strange.filter(pa.array(~KeyIndex(records.keys).contains(strange)))
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


def _check_lease(tables: list[str]) -> Iterator[Finding]:
    """Find that the lease's table is gone; whoever takes the lease next makes it anew and fences every table."""
    if tables and LEASE_TABLE not in tables:
        yield Finding("lost_lease", LEASE_TABLE, "is gone; the next command that writes makes it anew")


def _check_aliases(location: Location, spaces: list[str]) -> Iterator[Finding]:
    """Find the aliases whose space or version does not exist, and that all of them are gone."""
    try:
        aliases = list_aliases(location)
    except (OSError, ValueError, StoreError) as error:  # a table that does not open is reported as unreadable
        if is_outage(error):
            raise
        return
    again = "Embed into that space again, or move the alias (`protea-ray alias`)"
    for alias in aliases.values():
        try:
            open_space(location, alias.space, alias.version)
        except StoreError as error:
            if is_outage(error):
                raise
            yield Finding("dangling_alias", ALIASES_TABLE, f"{alias.alias} points to {alias.space}: {error}. {again}")
    if spaces and CURRENT not in aliases and _embedded(location):
        detail = f"no alias {CURRENT!r}, which every embed sets; `protea-ray alias STORE {CURRENT} SPACE` sets it again"
        yield Finding("lost_alias", ALIASES_TABLE, detail)


def _embedded(location: Location) -> bool:
    """Whether a run that sets the alias `current` is recorded as finished."""
    try:
        return count_rows(location.table(RUNS_TABLE), among("kind", ["embed"])) > 0
    except (OSError, ValueError, StoreError) as error:
        if is_outage(error):
            raise
        return False
