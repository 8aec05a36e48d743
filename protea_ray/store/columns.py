"""The columns of the store's own tables, checked before anything slow: other programs add columns and rename them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa

from protea_ray.errors import StoreError
from protea_ray.sequences.records import PROTEINS_SCHEMA, REJECTS_SCHEMA
from protea_ray.store.aliases import ALIASES
from protea_ray.store.evaluations import EVALUATIONS
from protea_ray.store.location import (
    ALIASES_TABLE,
    EVALUATIONS_TABLE,
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
_OF_EVALUATIONS = {EVALUATIONS_TABLE: EVALUATIONS}


def require_columns(location: Location) -> None:
    """Raise StoreError that lists every reason why a table that a run writes cannot take more rows. Creates nothing."""
    _require(location, _SCHEMAS, _SCHEMAS.keys())


def require_removable(location: Location) -> None:
    """Raise StoreError that lists why rows cannot be removed and that told in `runs`. Creates nothing."""
    _require(location, _SCHEMAS, {RUNS_TABLE})


def require_results_fit(location: Location) -> None:
    """Raise StoreError that says why the table of evaluations cannot take more rows. Creates nothing."""
    _require(location, _OF_EVALUATIONS, _OF_EVALUATIONS.keys())


def _require(location: Location, schemas: Mapping[str, pa.Schema], grow: Collection[str]) -> None:
    """Compare the columns of the tables of `schemas`; those named in `grow` must take new rows too."""
    tables = {name: find_table(location.table(name)) for name in schemas}
    problems = [
        problem
        for name, table in tables.items()
        if table is not None
        for problem in (obstacles if name in grow else changed_columns)(table, schemas[name])
    ]
    if problems:
        raise StoreError("\n".join(problems))
