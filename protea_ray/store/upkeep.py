"""Keeping a store small and quick: merge small fragments, drop versions nobody pinned, remove files nobody named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import lance
from lance.optimize import Compaction, CompactionOptions

from protea_ray.errors import StoreError, UnknownSpaceError
from protea_ray.store.aliases import list_aliases
from protea_ray.store.lease import Lease
from protea_ray.store.location import LEASE_TABLE, OWN_TABLES, Location
from protea_ray.store.object_store_errors import message
from protea_ray.store.spaces import PREFIX, open_space
from protea_ray.store.tables import find_table, open_table

_FRAGMENT_BYTES = 1 << 30  # commits cost 1 ms at 100 fragments and 101 ms at 50,000
_FEWEST_ROWS, _MOST_ROWS = 1 << 12, 1 << 20
_ALL_VERSIONS = 1_000_000_000
_DROPPED = f"{PREFIX}dropped"


@dataclass(frozen=True)
class TableUpkeep:
    """What was done to one table, or, in a dry run, what would be."""

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
) -> tuple[TableUpkeep, ...]:
    """Compact and clean every table under the lease.

    Kept are the latest version, tagged ones, those an alias names, and those younger than `keep`: a reader that
    began within that time is not disturbed. Files that no version names are removed whatever their age, which is
    safe only because nobody else may write. Raises LeaseHeldError, StoreError.
    """
    tables = [name for name in location.tables() if name != LEASE_TABLE]
    if dry_run:
        return tuple(_planned(location, name, lambda: now() - keep) for name in tables)
    with Lease.acquire(location, heartbeat_seconds) as lease:
        return tuple(_tended(location, name, lambda: now() - keep, lease) for name in tables)


def drop_space(
    location: Location, name: str, *, dry_run: bool = False, heartbeat_seconds: float = 30.0
) -> tuple[int, int]:
    """Delete a space, every version of it; returns (rows, bytes) that it held. Its proteins and rejects stay.

    Refused while an alias points to it. A drop that was interrupted leaves a table that calls itself dropped and
    takes no rows; dropping it again finishes it. Raises UnknownSpaceError, StoreError, LeaseHeldError.
    """
    table = _droppable(location, name)
    held = table.count_rows(), sum(sum(b.column("size_bytes").to_pylist()) for b in table.all_files())
    if dry_run:
        return held
    with Lease.acquire(location, heartbeat_seconds) as lease:
        table = _droppable(location, name)
        lease.check()
        table.update_schema_metadata({_DROPPED: name}, replace=True)
        try:
            lance.LanceDataset.drop(table.uri)
        except (OSError, ValueError) as error:
            raise StoreError(f"{table.uri} could not be removed whole: {message(error)}. Drop it again.") from error
    return held


def _droppable(location: Location, name: str) -> lance.LanceDataset:
    table = find_table(location.table(name)) if name not in OWN_TABLES else None
    if table is None or _DROPPED.encode() not in (table.schema.metadata or {}):
        open_space(location, name)  # raises with the list of spaces
    users = sorted(a.alias for a in list_aliases(location).values() if a.space == name)
    if users:
        raise StoreError(f"space {name} is what {', '.join(users)} points to; move the alias first")
    if table is None:
        raise UnknownSpaceError(f"{location.uri} has no space {name!r}")
    return table


def _planned(location: Location, name: str, before: Callable[[], datetime]) -> TableUpkeep:
    table = open_table(location.table(name))
    gone = _unneeded(location, name, table, before())
    fragments = len(table.get_fragments())
    plan = Compaction.plan(table, CompactionOptions(target_rows_per_fragment=_fragment_rows(table)))
    merged = sum(len(task.fragments) - 1 for task in plan.tasks)
    stats = _cleanup(table, gone, dry_run=True)
    return _told(name, fragments, fragments - merged, stats)


def _tended(location: Location, name: str, before: Callable[[], datetime], lease: Lease) -> TableUpkeep:
    table = open_table(location.table(name))
    fragments = len(table.get_fragments())
    lease.check()
    table.optimize.compact_files(target_rows_per_fragment=_fragment_rows(table))
    table = open_table(location.table(name))
    lease.check()
    stats = _cleanup(table, _unneeded(location, name, table, before()), dry_run=False)
    return _told(name, fragments, len(table.get_fragments()), stats)


def _told(name: str, before: int, after: int, stats: lance.CleanupStats) -> TableUpkeep:
    return TableUpkeep(name, before, after, stats.old_versions, stats.data_files_removed, stats.bytes_removed)


def _fragment_rows(table: lance.LanceDataset) -> int:
    """Rows of a fragment of about 1 GB, by what the table's rows take now."""
    rows = max(1, table.count_rows())
    size = sum(file.file_size_bytes or 0 for f in table.get_fragments() for file in f.metadata.files)
    return min(_MOST_ROWS, max(_FEWEST_ROWS, _FRAGMENT_BYTES * rows // max(1, size)))


def _unneeded(location: Location, name: str, table: lance.LanceDataset, before: datetime) -> list[int]:
    """Versions that may go."""
    kept = {table.version, *(tag["version"] for tag in table.tags.list().values()), *_aliased(location, name)}
    ages = ((v["version"], v["timestamp"]) for v in table.versions())
    return [version for version, made in ages if version not in kept and isinstance(made, datetime) and made <= before]


def _aliased(location: Location, name: str) -> Iterator[int]:
    for found in list_aliases(location).values():
        if found.space == name and found.version is not None:
            yield found.version


def _cleanup(table: lance.LanceDataset, gone: list[int], *, dry_run: bool) -> lance.CleanupStats:
    """Remove these versions and every file that no version names."""
    which: dict[str, Any] = {"versions": gone} if gone else {"retain_versions": _ALL_VERSIONS}
    which |= {"delete_unverified": True, "error_if_tagged_old_versions": False}
    if dry_run:
        return table.explain_cleanup_old_versions(**which).stats
    return table.cleanup_old_versions(**which)
