"""Move an alias as a person asks for it: checked first, and checked again once it has moved."""

from __future__ import annotations

from datetime import UTC, datetime

from protea_ray.store.aliases import Alias, check_name, move, resolve_pinned
from protea_ray.store.commit import Writer
from protea_ray.store.location import Location
from protea_ray.store.pins import pinned_target
from protea_ray.store.runs import new_run_id
from protea_ray.store.spaces import open_space


def point(
    location: Location, alias: str, space: str, version: int | None = None, *, pin: bool = False, dry_run: bool = False
) -> Alias:
    """Point `alias` at a space, or at what another alias stands for, and return where; a dry run changes nothing.

    `version` pins one version of the space, `pin` that of now, each with the version of the proteins that belongs to
    it. Needs no lease. Raises UnknownSpaceError for a space that does not exist, or was dropped meanwhile, and
    StoreError for an alias that is a table's name and for a version whose proteins can no longer be told.
    """
    target, at, proteins = resolve_pinned(location, space, version)
    if pin or at is not None:
        target, at, proteins = pinned_target(location, space, version)
    open_space(location, target, at)
    check_name(location, alias)
    run = new_run_id()
    if dry_run:
        return Alias(alias, target, at, datetime.now(UTC), run, proteins)
    moved = move(location, alias, target, version=at, proteins=proteins, run=run, writer=Writer.unleased())
    open_space(location, target, at)  # it may have been dropped meanwhile
    return moved
