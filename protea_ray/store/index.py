"""The vector index of a space: IVF-PQ by cosine, for approximate searches, which are quick and may miss neighbours.

Exact search reads every vector: 2.6 GB a query for a million rows of 1,280 halves, about a second from a warm disk.
Below tens of thousands of rows that is milliseconds, and an index would only lose neighbours. Rows that are appended
after the index was built are searched exactly, until `build_index` adds them to it.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import lance

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.errors import ConfigError, StoreError
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location
from protea_ray.store.object_store_errors import message
from protea_ray.store.rows import vector_facts
from protea_ray.store.spaces import open_space
from protea_ray.store.tables import open_table

MIN_ROWS = 50_000
FEWEST_ROWS = 256  # Lance trains 256 codes; of fewer rows it makes an index without any of them, and says nothing
VALUES_PER_CODE = 8  # one byte stands for 8 values: a tenth to a sixteenth of the vector


@dataclass(frozen=True)
class Indexed:
    """What was done to the index of one vector column, or, in a dry run, would be; `reason` says why in words.

    `indexed`: how many rows the index covers afterwards, in a dry run now; 0 without an index.
    """

    space: str
    column: str
    rows: int
    action: str  # none, build or extend
    reason: str
    dry_run: bool
    indexed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)


def build_index(
    location: Location,
    space: str,
    pooling: str | None = None,
    *,
    min_rows: int = MIN_ROWS,
    force: bool = False,
    dry_run: bool = False,
    heartbeat_seconds: float = 30.0,
    report: Reporter = SILENT,
) -> tuple[Indexed, ...]:
    """Index the vector column `pooling` of a space, or all of them, under the lease; one version a column.

    A column without an index gets one from `min_rows` rows on. An existing index is extended by the rows that were
    appended since. `force` builds it anew in any case. Raises UnknownSpaceError, ConfigError for a pooling that the
    space does not have and for `force` on fewer than FEWEST_ROWS rows, LeaseHeldError, and StoreError when the index
    cannot be built.
    """
    columns = _columns(location, space, pooling)
    rows = open_table(location.table(space)).count_rows()
    if force and rows < FEWEST_ROWS:
        raise ConfigError(
            f"space {space} has {rows:,} rows and an index needs at least {FEWEST_ROWS}; exact search, which "
            "`query --nearest` does without an index, reads so few in milliseconds",
            where="index",
        )
    if dry_run:
        table = open_table(location.table(space))
        return tuple(_plan_index(table, space, column, min_rows, force, dry_run) for column in columns)
    with Lease.acquire(location, heartbeat_seconds) as lease:
        return tuple(_build(location, space, column, min_rows, force, lease, report) for column in columns)


def _columns(location: Location, space: str, pooling: str | None) -> list[str]:
    """The vector columns to index. Raises as `build_index`."""
    open_space(location, space)
    have = list(vector_facts(open_table(location.table(space)).schema)["widths"])
    if pooling is None and have:
        return have
    if pooling is None or pooling not in have:
        asked = f"no pooling {pooling!r}" if pooling else "no pooled vectors"
        raise ConfigError(f"space {space} has {asked}; it has {', '.join(have) or 'residues only'}", where="pooling")
    return [pooling]


def _plan_index(
    table: lance.LanceDataset, space: str, column: str, min_rows: int, force: bool, dry_run: bool
) -> Indexed:
    rows, covered = table.count_rows(), indexed_rows(table, column)
    if force:
        action, reason = "build", "it was asked for"
    elif covered is not None and covered < rows and rows < FEWEST_ROWS:
        action, reason = "none", f"the index covers {covered:,} of {rows:,} rows, and needs at least {FEWEST_ROWS}"
    elif covered is not None and covered < rows:
        action, reason = "extend", f"{rows - covered:,} rows came after the index was built"
    elif covered is not None:
        action, reason = "none", "every row is in the index"
    elif rows < max(min_rows, FEWEST_ROWS):
        advice = "--force builds it anyway" if rows >= FEWEST_ROWS else f"an index needs at least {FEWEST_ROWS}"
        action, reason = "none", f"exact search is quick over {rows:,} rows, below {min_rows:,}; {advice}"
    else:
        action, reason = "build", f"{rows:,} rows, at least {min_rows:,}"
    return Indexed(space, column, rows, action, reason, dry_run, covered or 0)


def indexed_rows(table: lance.LanceDataset, column: str) -> int | None:
    """How many rows the index of a column covers; None where there is no index."""
    rows = [index.num_rows_indexed for index in _indices(table, column)]
    return sum(rows) if rows else None


def _indices(table: lance.LanceDataset, column: str) -> Iterator[Any]:
    return (index for index in table.describe_indices() if index.field_names == [column])


def _build(
    location: Location, space: str, column: str, min_rows: int, force: bool, lease: Lease, report: Reporter
) -> Indexed:
    table = open_table(location.table(space))
    planned = _plan_index(table, space, column, min_rows, force, dry_run=False)
    lease.check()
    if planned.action != "none":
        report.phase(f"indexing {planned.rows:,} vectors of {space} by {column}")  # one call, which counts nothing
    try:
        if planned.action == "extend":
            table.optimize.optimize_indices(index_names=[index.name for index in _indices(table, column)])
        elif planned.action == "build":
            width = vector_facts(table.schema)["widths"][column]
            codes = width // VALUES_PER_CODE if width % VALUES_PER_CODE == 0 else None
            table.create_index(column, "IVF_PQ", metric="cosine", replace=True, num_sub_vectors=codes)
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(f"{table.uri} could not be indexed by {column}: {message(error)}") from error
    covered = indexed_rows(open_table(location.table(space)), column) or 0
    if planned.action != "none" and covered < planned.rows:
        raise StoreError(
            f"Lance took {covered:,} of {planned.rows:,} rows of {space} into the index of {column}; approximate "
            "searches read the others one by one. `protea-ray index --force` builds it anew"
        )
    return replace(planned, indexed=covered)
