"""The columns of the store's own tables, checked before anything slow: other programs add columns and rename them."""

from __future__ import annotations

from collections.abc import Iterator

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
from protea_ray.store.tables import find_table, obstacles

_SCHEMAS = {
    PROTEINS_TABLE: PROTEINS_SCHEMA,
    REJECTS_TABLE: REJECTS_SCHEMA,
    SOURCES_TABLE: SOURCES,
    ALIASES_TABLE: ALIASES,
    RUNS_TABLE: RUNS,
}


def require_columns(location: Location) -> None:
    """Raise StoreError that lists every reason why a table of the store cannot take more rows. Creates nothing."""
    found = list(_obstacles(location))
    if found:
        raise StoreError("\n".join(found))


def _obstacles(location: Location) -> Iterator[str]:
    for name, schema in _SCHEMAS.items():
        table = find_table(location.table(name))
        if table is not None:
            yield from obstacles(table, schema)
