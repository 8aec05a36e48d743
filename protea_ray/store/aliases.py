"""Aliases: a name that stands for one space, and optionally one version of it.

Each move is one appended row, so it is atomic and the history stays. The last row of an alias counts.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from protea_ray.errors import StoreError, UnknownSpaceError, did_you_mean
from protea_ray.store.location import ALIASES_TABLE, OWN_TABLES, Location, table_name
from protea_ray.store.spaces import list_spaces, open_space
from protea_ray.store.tables import ensure_table, find_table

if TYPE_CHECKING:  # a reader of a store loads nothing that writes
    from protea_ray.store.commit import Writer

CURRENT = "current"
ALIASES = pa.schema(
    [
        pa.field("alias", pa.string(), nullable=False),
        pa.field("space", pa.string(), nullable=False),
        pa.field("version", pa.int64()),  # null: the latest
        pa.field("moved_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("run", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Alias:
    """Where an alias points since `moved_at`; `version` None: to the latest version of the space."""

    alias: str
    space: str
    version: int | None
    moved_at: datetime
    run: str


def move(location: Location, alias: str, space: str, *, version: int | None = None, run: str, writer: Writer) -> Alias:
    """Point `alias` at a space, in one appended row: a reader gets either the space before or this one.

    `version`: the one that readers get; None for the latest. Raises UnknownSpaceError for a space that does not
    exist, StoreError for an alias that is a table's name, and CommitError.
    """
    open_space(location, space, version)
    check_name(location, alias)
    uri = location.table(ALIASES_TABLE)
    ensure_table(uri, ALIASES)
    moved = Alias(alias, space, version, datetime.now(UTC), run)
    writer.append_table(uri, pa.Table.from_pylist([vars(moved)], ALIASES))
    return moved


def check_name(location: Location, alias: str) -> None:
    """Raise StoreError for an alias that is, or cannot be, the name of a table."""
    if table_name(alias) in OWN_TABLES or location.exists(alias):
        raise StoreError(f"{alias} is the name of a table; choose another alias")


def history(location: Location) -> list[Alias]:
    """Every move of every alias, oldest first."""
    table = find_table(location.table(ALIASES_TABLE))
    rows: list[dict[str, Any]] = table.to_table(columns=ALIASES.names).to_pylist() if table is not None else []
    return [Alias(**row) for row in rows]


def list_aliases(location: Location) -> dict[str, Alias]:
    """Where every alias points now, by its name."""
    return {moved.alias: moved for moved in history(location)}


def resolve(location: Location, name: str = CURRENT, version: int | None = None) -> tuple[str, int | None]:
    """Find the (space, version) that a space's name or an alias stands for; version None is the latest.

    A `version` that is given overrules that of the alias. `current` is the store's only space while it has one space
    and the alias was never moved. Raises UnknownSpaceError that lists spaces and aliases.
    """
    aliases = list_aliases(location)
    if name in aliases:
        return aliases[name].space, version if version is not None else aliases[name].version
    spaces = [s.name for s in list_spaces(location)]
    if name in spaces:
        return name, version
    if name == CURRENT and len(spaces) == 1:
        return spaces[0], version
    known = f"spaces: {', '.join(spaces) or 'none yet'}; aliases: {', '.join(sorted(aliases)) or 'none'}"
    if name == CURRENT and spaces:
        raise UnknownSpaceError(f"{location.uri} has {len(spaces)} spaces and no alias {CURRENT!r}; name one. {known}")
    hint = did_you_mean(name, [*spaces, *aliases])
    raise UnknownSpaceError(f"{location.uri} has no space or alias {name!r}{hint}; {known}")
