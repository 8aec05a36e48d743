"""What a pinned alias keeps: one version of a space and the version of the proteins that belongs to it.

A space's rows carry keys and no ids, so vectors at one version joined to the proteins of today are another data set as
soon as an id is added. An alias that pins vectors therefore names a version of the proteins too
(docs/decisions/0013-pins.md).
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from datetime import UTC, datetime

import lance

from protea_ray.errors import StoreError
from protea_ray.store.aliases import history, list_aliases, move, resolve_pinned
from protea_ray.store.location import PROTEINS_TABLE, Location
from protea_ray.store.object_store_errors import is_missing_table
from protea_ray.store.tables import find_table, open_table


def open_pinned(location: Location, name: str, version: int) -> lance.LanceDataset:
    """One version of a table; raises StoreError that says how to keep a version, where this one is gone."""
    uri = location.table(name)
    try:
        return open_table(uri, version)
    except StoreError as error:
        if error.__cause__ is None or not is_missing_table(error.__cause__):
            raise
        latest = find_table(uri)
        if latest is None:
            raise
        if version > latest.version:
            raise StoreError(
                f"version {version} of {uri} does not exist yet; its latest is {latest.version}"
            ) from error
        raise StoreError(
            f"version {version} of {uri} is gone: `protea-ray upkeep` removes old versions that no alias names. Its "
            f"latest is {latest.version}. Next time keep it: `protea-ray alias STORE NAME SPACE --pin`, or in Python "
            'store.pin(space, keep="NAME")'
        ) from error


def pinned_target(location: Location, name: str, version: int | None = None) -> tuple[str, int, int]:
    """The (space, version, version of the proteins) that an alias on `name` has to keep, for `version` or the latest.

    Raises UnknownSpaceError, and StoreError where it can no longer be told which proteins belong to the version.
    """
    space, at, proteins = resolve_pinned(location, name, version)
    if at is None:
        at = int(open_table(location.table(space)).version)
    else:
        open_pinned(location, space, at)
    return space, at, proteins or _proteins_beside(location, space, at)


def keep_pin(location: Location, alias: str, pin: tuple[str, int, int]) -> None:
    """Make an alias that pins (space, version, version of the proteins), so that upkeep keeps both versions.

    An alias that pins just this stays. Raises StoreError for one that points elsewhere and for a version that is gone,
    and CommitError where the store cannot be written.
    """
    from protea_ray.store.commit import Writer  # a reader of a store loads nothing that writes
    from protea_ray.store.runs import new_run_id

    space, version, proteins = pin
    found = list_aliases(location).get(alias)
    if found is not None and (found.space, found.version, found.proteins) != pin:
        raise StoreError(f"the alias {alias} points to {found.target}; choose another name, or first "
                         f"`protea-ray alias {location.uri} {alias} --delete`")  # fmt: skip
    if found is None:
        move(location, alias, space, version=version, proteins=proteins, run=new_run_id(), writer=Writer.unleased())
    open_pinned(location, space, version)  # upkeep may have removed them before the alias was there
    open_pinned(location, PROTEINS_TABLE, proteins)


def _proteins_beside(location: Location, space: str, version: int) -> int:
    """The version of the proteins that a reader got beside this version of a space, just before the space grew again.

    The last alias that pinned the same version says so, also one that was moved since; else the times of the commits
    do. Raises StoreError where upkeep has removed what would tell.
    """
    vectors = open_table(location.table(space))
    recorded = _recorded_beside(location, space, version, _commit_times(vectors).get(version))
    if recorded is not None:
        return recorded
    proteins = open_table(location.table(PROTEINS_TABLE))
    if version == vectors.version:
        return int(proteins.version)
    next_made = _commit_times(vectors).get(version + 1)
    found = latest_before(next_made, _commit_times(proteins)) if next_made is not None else None
    if found is None:
        raise StoreError(
            f"which proteins belonged to version {version} of {space} can no longer be told: upkeep has removed the "
            f"versions around it. Pin what the store holds now: `protea-ray alias {location.uri} NAME {space} --pin`"
        )
    return found


def _recorded_beside(location: Location, space: str, version: int, made: datetime | None) -> int | None:
    """What the last pin of a version of a space says, if it is still there; `made`: when the version was committed.

    A pin from before that time was of a space that was dropped since.
    """
    since = made.astimezone() if made is not None else datetime.now(UTC)
    for alias in reversed(history(location)):
        pinned = alias.proteins if (alias.space, alias.version) == (space, version) else None
        if pinned is not None and alias.moved_at >= since and _is_there(location, PROTEINS_TABLE, pinned):
            return pinned
    return None


def _commit_times(table: lance.LanceDataset) -> dict[int, datetime]:
    """When each version that is there was committed, oldest first."""
    times = {int(v["version"]): v["timestamp"] for v in table.versions()}
    return {number: made for number, made in sorted(times.items()) if isinstance(made, datetime)}


def latest_before(moment: datetime, versions: dict[int, datetime]) -> int | None:
    """The last version made before `moment`; None where a version that is gone may have been it."""
    earlier = [number for number, made in versions.items() if made < moment]
    if not earlier or (earlier[-1] != max(versions) and earlier[-1] + 1 not in versions):
        return None
    return earlier[-1]


def _is_there(location: Location, name: str, version: int) -> bool:
    """Whether a table still has this version; raises StoreError in an outage."""
    try:
        open_table(location.table(name), version)
    except StoreError as error:
        if error.__cause__ is not None and is_missing_table(error.__cause__):
            return False
        raise
    return True
