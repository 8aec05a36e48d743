"""Verify: whether every protein has a vector or a reject, every row is there once, and every value is as written.

All rows of the checked tables are read, spaces fragment by fragment; nothing is written. Findings name units, ids and
sources. verify_space.py checks the rows of a space, verify_records.py the tables of records, verify_evaluations.py the
results of evaluations, verify_history.py the rest. A store that somebody writes meanwhile is judged by its rows alone
(see Report.state).
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.sequences.records import KEY_BYTES
from protea_ray.store.findings import IDS_NAMED, Finding, Report, first_keys
from protea_ray.store.keys import KeyIndex
from protea_ray.store.ledger import rejected_keys
from protea_ray.store.location import (
    EVALUATIONS_TABLE,
    LEASE_TABLE,
    OWN_TABLES,
    PROTEINS_TABLE,
    REJECTS_TABLE,
    Location,
)
from protea_ray.store.object_store_errors import message, outage_as_store_error, raise_unless_damage
from protea_ray.store.rows import CHECKSUM, vector_facts
from protea_ray.store.spaces import SpaceInfo, open_space
from protea_ray.store.tables import open_table
from protea_ray.store.upkeep import DROPPED
from protea_ray.store.upkeep_plan import explain
from protea_ray.store.verify_evaluations import read_results
from protea_ray.store.verify_history import read_history, writer_of
from protea_ray.store.verify_records import Records, lost_tables, read_records
from protea_ray.store.verify_space import ReadRows, read_space

_PROTEINS_ARE_LOST = {"lost_table", "unreadable", "wrong_count"}
_CHANGED = "somebody who wrote while it was read"


@outage_as_store_error()
def verify(location: Location, space: str | None = None, report: Reporter = SILENT) -> Report:
    """Check one space, or all of them, and the tables beside them; `report` is told how far it is.

    Raises UnknownSpaceError for a space that does not exist, and StoreError in an outage, in which nothing is known
    of the tables. Everything else that is wrong is a finding.
    """
    writer, version = writer_of(location)
    rows, findings = _look(location, space, report)
    writer_after, version_after = writer_of(location)
    changed = _CHANGED if version_after != version else None
    return Report(location.uri, rows, tuple(_with_ids(location, findings)), writer or writer_after or changed)


def _look(location: Location, space: str | None, report: Reporter) -> tuple[dict[str, int], list[Finding]]:
    """Read all of it; returns how many rows were read, by table, and what is wrong."""
    spaces, findings = _readable_spaces(location)
    wanted = spaces if space is None else [open_space(location, space).name]
    broken = {finding.table for finding in findings}
    findings = findings if space is None else []
    report.phase("checking the protein records")
    records = read_records(location)
    findings += [f for f in records.findings if f.kind != "unreadable" or space is not None or f.table not in broken]
    rows = {PROTEINS_TABLE: len(records.keys)}
    for name in wanted:
        held, of_space = read_space(location, name, report)
        rows[name] = held.count
        findings += [*of_space, *_compare(location, name, held, records)]
    report.phase("comparing the tables")
    findings += lost_tables(location, records, {name: rows[name] for name in wanted})
    if any(f.table == PROTEINS_TABLE and f.kind in _PROTEINS_ARE_LOST for f in findings):
        findings = [f for f in findings if f.kind != "no_protein"]  # their proteins come back when it is mended
    findings += [f for name in location.tables() if name != LEASE_TABLE for f in _orphans(location, name)]
    results = read_results(location)
    rows |= {} if results.count is None else {EVALUATIONS_TABLE: results.count}
    known = {(f.kind, f.table) for f in findings}
    others = [*results.findings, *read_history(location, spaces)]
    return rows, [*findings, *(f for f in others if (f.kind, f.table) not in known)]


def _readable_spaces(location: Location) -> tuple[list[str], list[Finding]]:
    """Names of the spaces whose tables open, and a finding for every table that does not open."""
    spaces: list[str] = []
    broken: list[Finding] = []
    for name in location.tables():
        try:
            schema = open_table(location.table(name)).schema
            info = SpaceInfo.from_schema(schema) if name not in OWN_TABLES else None
            if info is not None:
                vector_facts(schema)
        except BaseException as error:
            raise_unless_damage(error)
            broken.append(Finding("unreadable", name, message(error)[:300]))
            continue
        if info is not None:
            spaces.append(name)
        elif DROPPED.encode() in (schema.metadata or {}):
            broken.append(Finding("half_dropped", name, "its removal was interrupted"))
        elif name not in OWN_TABLES and {"key", CHECKSUM} <= {*schema.names}:
            broken.append(Finding("unreadable", name, "it has the columns of a space, but its description is gone"))
    return spaces, broken


def _with_ids(location: Location, findings: Sequence[Finding]) -> Iterator[Finding]:
    """The findings, each with the ids of its first keys, as far as proteins can be read and hold them."""
    keys = sorted({key for finding in findings for key in finding.keys if len(key) == 2 * KEY_BYTES})
    ids: dict[str, str] = {}
    try:
        if keys and location.exists(PROTEINS_TABLE):
            named = ", ".join(f"X'{key}'" for key in keys)
            found = open_table(location.table(PROTEINS_TABLE)).to_table(["id", "key"], filter=f"key IN ({named})")
            for row in found.to_pylist():
                ids.setdefault(row["key"].hex(), row["id"])
    except BaseException as error:
        raise_unless_damage(error)
    for finding in findings:
        yield replace(finding, ids=tuple([ids[key] for key in finding.keys if key in ids][:IDS_NAMED]))


def _compare(location: Location, space: str, held: ReadRows, records: Records) -> Iterator[Finding]:
    """Find the proteins of the space's alphabet without a vector or a reject, and the vectors without a protein."""
    of_3di = open_space(location, space).config.get("alphabet") == "3di"
    distinct = records.keys.filter(records.is_3di if of_3di else pc.invert(records.is_3di)).unique()
    if REJECTS_TABLE not in records.unreadable:
        has_result = KeyIndex(held.keys).contains(distinct)
        has_result |= KeyIndex(rejected_keys(location, space)).contains(distinct)
        lost = distinct.filter(pa.array(~has_result))
        if len(lost):
            detail = f"{len(lost):,} of {len(distinct):,} proteins have neither a vector nor a reject"
            yield Finding("missing", space, detail, len(lost), keys=first_keys(lost.to_pylist()))
    strange = held.keys.unique()
    strange = strange.filter(pa.array(~KeyIndex(records.keys).contains(strange)))
    if len(strange):
        detail = f"{len(strange):,} vectors belong to no protein of the store"
        yield Finding("no_protein", space, detail, len(strange), keys=first_keys(strange.to_pylist()))


def _orphans(location: Location, name: str) -> Iterator[Finding]:
    """Find the files that no version names: fragments of a crash, or of attempts that were repeated."""
    try:
        table = open_table(location.table(name))
        litter = explain(table, name)
    except BaseException as error:  # a table that does not open is reported as unreadable
        raise_unless_damage(error)
        return
    if litter.files:
        detail = f"{litter.files} files, {litter.bytes} bytes, of writes that were never committed"
        yield Finding("orphans", name, detail, litter.files)
