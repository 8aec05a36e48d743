"""Upkeep: merge small fragments, remove versions that nothing names, and files that no version names."""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import lance

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.errors import StoreError, UnknownSpaceError
from protea_ray.store.aliases import list_aliases
from protea_ray.store.lease import Lease, will_fence
from protea_ray.store.location import LEASE_TABLE, OWN_TABLES, PROTEINS_TABLE, Location
from protea_ray.store.object_store_errors import message
from protea_ray.store.spaces import PREFIX, open_space
from protea_ray.store.tables import find_table, open_table
from protea_ray.store.upkeep_plan import foretell, removal

_FRAGMENT_BYTES = 1 << 30  # commits cost 1 ms at 100 fragments and 101 ms at 50,000
_FEWEST_ROWS, _MOST_ROWS = 1 << 12, 1 << 20
DROPPED = f"{PREFIX}dropped"


@dataclass(frozen=True)
class TableUpkeep:
    """What upkeep did to one table, or, in a dry run, would do."""

    table: str
    fragments_before: int
    fragments_after: int
    versions_removed: int
    files_removed: int
    bytes_removed: int

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)


def upkeep(
    location: Location,
    *,
    keep: timedelta = timedelta(days=1),
    dry_run: bool = False,
    heartbeat_seconds: float = 30.0,
    now: Callable[[], datetime] = datetime.now,
    report: Reporter = SILENT,
) -> tuple[TableUpkeep, ...]:
    """Compact every table and remove its old versions, under the lease.

    The latest version, tagged versions, versions that an alias names and those younger than `keep` stay, so readers
    that began within that time are not disturbed. Files that no version names are removed whatever their age, which
    is safe only because under the lease nobody else writes; those of evaluations, which need no lease, when they are a
    week old. Raises LeaseHeldError, StoreError.
    """
    tables = [name for name in location.tables() if name != LEASE_TABLE]
    if dry_run:
        fenced = will_fence(location)
        return tuple(_plan_upkeep(location, name, lambda: now() - keep, fenced) for name in tables)
    with Lease.acquire(location, heartbeat_seconds) as lease:
        return tuple(_told(tables, report, lambda name: _tend(location, name, lambda: now() - keep, lease)))


def _told(tables: list[str], report: Reporter, tend: Callable[[str], TableUpkeep]) -> Iterator[TableUpkeep]:
    """Tend one table after the other, and say which: Lance counts nothing meanwhile."""
    for number, name in enumerate(tables, 1):
        report.phase(f"tending {name}, table {number} of {len(tables)}")
        yield tend(name)


def drop_space(
    location: Location, name: str, *, dry_run: bool = False, heartbeat_seconds: float = 30.0
) -> tuple[int, int]:
    """Delete a space with all its versions; returns (rows, bytes) that it held.

    Its proteins, its rejects and the results of its evaluations stay. An interrupted drop leaves a table whose
    metadata says that it is dropped and which takes no rows; dropping it again deletes the rest. Raises StoreError
    while an alias points to the space, UnknownSpaceError, LeaseHeldError.
    """
    table = _table_to_drop(location, name)
    held = table.count_rows(), sum(sum(b.column("size_bytes").to_pylist()) for b in table.all_files())
    if dry_run:
        return held
    with Lease.acquire(location, heartbeat_seconds) as lease:
        table = _table_to_drop(location, name)
        lease.check()
        table.update_schema_metadata({DROPPED: name}, replace=True)
        try:
            lance.LanceDataset.drop(table.uri)
        except (OSError, ValueError) as error:
            raise StoreError(f"{table.uri} could not be removed whole: {message(error)}. Drop it again.") from error
    return held


def _table_to_drop(location: Location, name: str) -> lance.LanceDataset:
    """Open a space that may be dropped, or one whose drop was interrupted. Raises as `drop_space`."""
    table = find_table(location.table(name)) if name not in OWN_TABLES else None
    if table is None or DROPPED.encode() not in (table.schema.metadata or {}):
        open_space(location, name)  # raises with the list of spaces
    users = sorted(a.alias for a in list_aliases(location).values() if a.space == name)
    if users:
        raise StoreError(f"space {name} is what {', '.join(users)} points to; move the alias first")
    if table is None:
        raise UnknownSpaceError(f"{location.uri} has no space {name!r}")
    return table


def _plan_upkeep(location: Location, name: str, before: Callable[[], datetime], fenced: bool) -> TableUpkeep:
    """What upkeep would do to a table. `before`: versions made until then may go; `fenced`: see `foretell`."""
    table = open_table(location.table(name))
    until = before()
    gone = _removable_versions(location, name, table, until)
    named = {tag["version"] for tag in table.tags.list().values()}.union(_aliased_versions(location, name))
    made = table.versions()[-1]["timestamp"]
    latest_goes = table.version not in named and isinstance(made, datetime) and made <= until
    rows = _fragment_rows(table)
    after, removed = foretell(table, name, gone, rows, named=named, latest_goes=latest_goes, fenced=fenced)
    return TableUpkeep(name, len(table.get_fragments()), after, removed.versions, removed.files, removed.bytes)


def _tend(location: Location, name: str, before: Callable[[], datetime], lease: Lease) -> TableUpkeep:
    """Compact a table, then remove old versions and unnamed files."""
    table = open_table(location.table(name))
    fragments = len(table.get_fragments())
    lease.check()
    table.optimize.compact_files(target_rows_per_fragment=_fragment_rows(table))
    table = open_table(location.table(name))
    lease.check()
    gone = _removable_versions(location, name, table, before())
    stats = table.cleanup_old_versions(**removal(name, gone))
    return _upkeep_of(name, fragments, len(table.get_fragments()), stats)


def _upkeep_of(name: str, before: int, after: int, stats: lance.CleanupStats) -> TableUpkeep:
    return TableUpkeep(name, before, after, stats.old_versions, stats.data_files_removed, stats.bytes_removed)


def _fragment_rows(table: lance.LanceDataset) -> int:
    """How many rows make a fragment of about 1 GB, by the mean size of the table's rows."""
    rows = max(1, table.count_rows())
    size = sum(file.file_size_bytes or 0 for f in table.get_fragments() for file in f.metadata.files)
    return min(_MOST_ROWS, max(_FEWEST_ROWS, _FRAGMENT_BYTES * rows // max(1, size)))


def _removable_versions(location: Location, name: str, table: lance.LanceDataset, before: datetime) -> list[int]:
    """Versions made until `before` that neither a tag nor an alias names, without the latest."""
    kept = {table.version, *(tag["version"] for tag in table.tags.list().values()), *_aliased_versions(location, name)}
    ages = ((v["version"], v["timestamp"]) for v in table.versions())
    return [version for version, made in ages if version not in kept and isinstance(made, datetime) and made <= before]


def _aliased_versions(location: Location, name: str) -> Iterator[int]:
    """Versions of a space, or of the proteins, that an alias names."""
    for alias in list_aliases(location).values():
        pinned = {alias.space: alias.version, PROTEINS_TABLE: alias.proteins}.get(name)
        if pinned is not None:
            yield pinned
