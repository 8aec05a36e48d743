"""Checking aliases, runs and the lease: which of them are gone or cannot be read, and who is writing.

None of the three holds proteins or vectors. A lost lease or history of runs costs nothing; a lost alias makes readers
ask which space is meant.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

from protea_ray.errors import StoreError
from protea_ray.store.aliases import CURRENT, history, list_aliases
from protea_ray.store.findings import Finding
from protea_ray.store.lease import HELD, is_this_process, read_record
from protea_ray.store.location import ALIASES_TABLE, LEASE_TABLE, RUNS_TABLE, Location
from protea_ray.store.object_store_errors import is_outage, message, raise_unless_damage
from protea_ray.store.spaces import open_space
from protea_ray.store.tables import find_table


def read_history(location: Location, spaces: Sequence[str]) -> list[Finding]:
    """Find what is wrong with runs, aliases and lease. `spaces`: names of the spaces that open."""
    kinds, findings = _read_runs(location)
    findings += _check_lease(location)
    try:
        moves = history(location)
    except BaseException as error:
        raise_unless_damage(error)
        return [*findings, Finding("unreadable", ALIASES_TABLE, message(error)[:300])]
    findings += _dangling(location, spaces)
    if not location.exists(RUNS_TABLE) and {m.run for m in moves} & {open_space(location, s).run for s in spaces}:
        detail = "is gone, or the first run stopped before it was recorded: the history of runs begins anew"
        findings.append(Finding("lost_runs", RUNS_TABLE, detail))
    if spaces and "embed" in kinds and CURRENT not in {m.alias for m in moves}:
        detail = f"no alias {CURRENT!r}, which every embed sets"
        findings.append(Finding("lost_alias", ALIASES_TABLE, detail))
    return findings


def _read_runs(location: Location) -> tuple[set[str], list[Finding]]:
    """The kinds of runs that are recorded, and a finding when the table or a summary in it cannot be read."""
    try:
        table = find_table(location.table(RUNS_TABLE))
        rows: list[dict[str, str]] = table.to_table(["kind", "summary"]).to_pylist() if table is not None else []
        for row in rows:
            json.loads(row["summary"])
    except BaseException as error:
        raise_unless_damage(error)
        return set(), [Finding("unreadable", RUNS_TABLE, message(error)[:300])]
    return {row["kind"] for row in rows}, []


def _check_lease(location: Location) -> Iterator[Finding]:
    """Find that the lease's table is gone or unreadable; whoever takes the lease next makes a lost one anew."""
    if not location.exists(LEASE_TABLE):
        yield Finding("lost_lease", LEASE_TABLE, "is gone; the next command that writes makes it anew")
        return
    try:
        table = find_table(location.table(LEASE_TABLE))
        if table is not None:
            read_record(table)
    except BaseException as error:
        raise_unless_damage(error)
        yield Finding("unreadable", LEASE_TABLE, message(error)[:300])


def _dangling(location: Location, spaces: Sequence[str]) -> Iterator[Finding]:
    """Find the aliases whose space or version does not exist; a space that does not open is reported as unreadable."""
    for alias in list_aliases(location).values():
        if location.exists(alias.space) and alias.space not in spaces:
            continue
        try:
            open_space(location, alias.space, alias.version)
        except StoreError as error:
            if is_outage(error):
                raise
            gone = "that version is gone" if location.exists(alias.space) else "that space is gone"
            at = "" if alias.version is None else f" at version {alias.version}"
            yield Finding("dangling_alias", ALIASES_TABLE, f"{alias.alias} points to {alias.space}{at}: {gone}")


def writer_of(location: Location) -> tuple[str | None, int]:
    """Who else is writing the store, in words (None: nobody), and the lease's version.

    Two versions that differ mean that somebody else wrote in between; 0 for none, and while this process writes.
    """
    try:
        table = find_table(location.table(LEASE_TABLE))
        holder = read_record(table) if table is not None else None
    except BaseException as error:
        raise_unless_damage(error)
        return None, 0
    if table is None or (holder is not None and is_this_process(holder) and holder.state == HELD):
        return None, 0
    now = time.time()
    writes = holder is not None and holder.state == HELD and holder.blocks(now)
    return holder.describe(now) if holder is not None and writes else None, table.version
