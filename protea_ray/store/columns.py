"""The columns of the store's own tables, checked before anything slow: other programs add columns and rename them."""

from __future__ import annotations

from collections.abc import Collection

from protea_ray.errors import StoreError
from protea_ray.sequences.records import PROTEINS_SCHEMA, REJECTS_SCHEMA
from protea_ray.store.aliases import ALIASES
from protea_ray.store.location import (
    ALIASES_TABLE,
    PROTEINS_TABLE,
    REJECTS_TABLE,
    RUNS_TABLE,
    SOURCES_TABLE,
    Location,
)
from protea_ray.store.rows import SOURCES
from protea_ray.store.runs import RUNS
from protea_ray.store.tables import changed_columns, find_table, obstacles

_SCHEMAS = {
    PROTEINS_TABLE: PROTEINS_SCHEMA,
    REJECTS_TABLE: REJECTS_SCHEMA,
    SOURCES_TABLE: SOURCES,
    ALIASES_TABLE: ALIASES,
    RUNS_TABLE: RUNS,
}


def require_columns(location: Location) -> None:
    """Raise StoreError that lists every reason why a table of the store cannot take more rows. Creates nothing."""
    _require(location, _SCHEMAS.keys())


def require_removable(location: Location) -> None:
    """Raise StoreError that lists why rows cannot be removed and that told in `runs`. Creates nothing."""
    _require(location, {RUNS_TABLE})


def _require(location: Location, grow: Collection[str]) -> None:
    """Compare the columns of every table; those named in `grow` must take new rows too."""
    tables = {name: find_table(location.table(name)) for name in _SCHEMAS}
    problems = [
        problem
        for name, table in tables.items()
        if table is not None
        for problem in (obstacles if name in grow else changed_columns)(table, _SCHEMAS[name])
    ]
    if problems:
        raise StoreError("\n".join(problems))
