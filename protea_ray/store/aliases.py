"""Aliases: a name that stands for one space, and optionally one version of it and of the proteins.

Each move is one appended row, so it is atomic and the history stays. The last row of an alias counts; one without a
space ends the alias.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import lance
import pyarrow as pa

from protea_ray.errors import ConfigError, StoreError, UnknownSpaceError, did_you_mean
from protea_ray.store.location import ALIASES_TABLE, OWN_TABLES, Location, table_name
from protea_ray.store.object_store_errors import message
from protea_ray.store.spaces import list_spaces, open_space
from protea_ray.store.tables import ensure_table, find_table, obstacles

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
PINNED = ALIASES.append(pa.field("proteins", pa.int64()))  # null: the latest; the table has it since its first pin
_DELETED = ""  # the space of a row that ends an alias: no table can have this name
_TRIES = 4  # of adding the column, which another process may be adding too


@dataclass(frozen=True)
class Alias:
    """Where an alias points since `moved_at`.

    `version` None: to the latest version of the space; `proteins` None: beside the latest proteins. `space` is empty
    where the row ends the alias.
    """

    alias: str
    space: str
    version: int | None
    moved_at: datetime
    run: str
    proteins: int | None = None

    @property
    def deleted(self) -> bool:
        """Whether this row ends the alias."""
        return self.space == _DELETED

    @property
    def target(self) -> str:
        """What it points to, in words: `esm2-1a2b3c4d at version 7 (proteins at 5)`."""
        if self.deleted:
            return "nothing"
        beside = f" (proteins at {self.proteins})" if self.proteins is not None else ""
        return self.space if self.version is None else f"{self.space} at version {self.version}{beside}"


def move(
    location: Location, alias: str, space: str, *, version: int | None = None, proteins: int | None = None,
    run: str, writer: Writer,
) -> Alias:  # fmt: skip
    """Point `alias` at a space, in one appended row: a reader gets either the space before or this one.

    `version` of the space and `proteins`, the version of the proteins, are those that readers get; None for the
    latest. Raises UnknownSpaceError for a space that does not exist, StoreError for an alias that is a table's name,
    and CommitError.
    """
    open_space(location, space, version)
    check_name(location, alias)
    return _append(location, Alias(alias, space, version, datetime.now(UTC), run, proteins), writer)


def delete(location: Location, alias: str, *, run: str, writer: Writer) -> Alias:
    """End an alias, in one appended row; returns where it pointed. Its history stays.

    Raises UnknownSpaceError for an alias that does not exist, ConfigError for `current`, and CommitError.
    """
    found = list_aliases(location)
    if alias == CURRENT:
        raise ConfigError(f"{CURRENT!r} is what readers get who name no space, so it cannot be deleted; point it to "
                          "another space", where="alias")  # fmt: skip
    if alias not in found:
        known = ", ".join(sorted(found)) or "none"
        raise UnknownSpaceError(f"{location.uri} has no alias {alias!r}; aliases: {known}")
    _append(location, Alias(alias, _DELETED, None, datetime.now(UTC), run), writer)
    return found[alias]


def _append(location: Location, moved: Alias, writer: Writer) -> Alias:
    """Write one row; only a row that pins proteins needs the column for it."""
    uri = location.table(ALIASES_TABLE)
    ensure_table(uri, ALIASES)
    if moved.proteins is not None:
        _ensure_pin_column(uri)
    schema = ALIASES if moved.proteins is None else PINNED
    writer.append_table(uri, pa.Table.from_pylist([vars(moved)], schema))
    return moved


def _ensure_pin_column(uri: str) -> None:
    """Give the table the column `proteins`.

    Earlier versions of this package go on reading and writing the table: for them the column is somebody else's, and
    null in their rows. Raises StoreError where the table has a column of that name and another kind.
    """
    problem: Exception | None = None
    for _ in range(_TRIES):
        table = ensure_table(uri, ALIASES)
        if "proteins" in table.schema.names:
            if found := obstacles(table, PINNED):
                raise StoreError("; ".join(found))
            return
        try:
            table.add_columns(pa.field("proteins", pa.int64()))
        except (OSError, ValueError) as error:  # another process adds it, or moves an alias, at this moment
            problem = error
    reason = message(problem) if problem else "no reason given"
    raise StoreError(f"{uri} did not take the column `proteins`, which a pin needs: {reason}. Try it again.")


def check_name(location: Location, alias: str) -> None:
    """Raise StoreError for an alias that is, or cannot be, the name of a table."""
    if table_name(alias) in OWN_TABLES or location.exists(alias):
        raise StoreError(f"{alias} is the name of a table; choose another alias")


def history(location: Location) -> list[Alias]:
    """Every move and every end of every alias, oldest first."""
    table = find_table(location.table(ALIASES_TABLE))
    if table is None:
        return []
    columns = [name for name in PINNED.names if name in ALIASES.names or _holds_pins(table, name)]
    rows: list[dict[str, Any]] = table.to_table(columns=columns).to_pylist()
    return [Alias(**row) for row in rows]


def _holds_pins(table: lance.LanceDataset, name: str) -> bool:
    """Whether the table has the column `proteins` as this package writes it."""
    return name in table.schema.names and table.schema.field(name).type == PINNED.field(name).type


def list_aliases(location: Location) -> dict[str, Alias]:
    """Where every alias points now, by its name; those that were deleted are left out."""
    last = {moved.alias: moved for moved in history(location)}
    return {name: moved for name, moved in last.items() if not moved.deleted}


def resolve(location: Location, name: str = CURRENT, version: int | None = None) -> tuple[str, int | None]:
    """Find the (space, version) that a space's name or an alias stands for, as `resolve_pinned` does."""
    return resolve_pinned(location, name, version)[:2]


def resolve_pinned(
    location: Location, name: str = CURRENT, version: int | None = None
) -> tuple[str, int | None, int | None]:
    """Find the (space, version, version of the proteins) that a space's name or an alias stands for; None: the latest.

    A `version` that is given overrules that of the alias. `current` is the store's only space while it has one space
    and the alias was never moved. Raises UnknownSpaceError that lists spaces and aliases.
    """
    aliases = list_aliases(location)
    if name in aliases:
        found = aliases[name]
        own = version is None or version == found.version
        return (found.space, found.version, found.proteins) if own else (found.space, version, None)
    spaces = [s.name for s in list_spaces(location)]
    if name in spaces:
        return name, version, None
    if name == CURRENT and len(spaces) == 1:
        return spaces[0], version, None
    known = f"spaces: {', '.join(spaces) or 'none yet'}; aliases: {', '.join(sorted(aliases)) or 'none'}"
    if name == CURRENT and spaces:
        raise UnknownSpaceError(f"{location.uri} has {len(spaces)} spaces and no alias {CURRENT!r}; name one. {known}")
    hint = did_you_mean(name, [*spaces, *aliases])
    raise UnknownSpaceError(f"{location.uri} has no space or alias {name!r}{hint}; {known}")
