"""Results of evaluations in the store: one row for each measured value of one probe on one task with one seed.

The rows of one cell (task, input, protocol, seed) are appended in one commit, so a cell is there whole or not at all.
No lease is taken: an evaluation may run beside an embed, and two evaluations beside each other.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterator, Sequence

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata

from protea_ray.errors import CommitError, ConfigError, did_you_mean
from protea_ray.store.location import EVALUATIONS_TABLE, Location
from protea_ray.store.object_store_errors import message
from protea_ray.store.sql import among, both
from protea_ray.store.tables import ensure_table, find_table, open_table

EVALUATIONS = pa.schema(
    [
        pa.field("cell", pa.string(), nullable=False),  # hexadecimal digest of task, input, protocol and seed
        pa.field("run", pa.string(), nullable=False),
        pa.field("finished", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("input", pa.string(), nullable=False),  # as tables show it
        pa.field("input_digest", pa.string(), nullable=False),
        pa.field("control", pa.string(), nullable=False),  # "" for a subject, else random, composition or untrained
        pa.field("space", pa.string(), nullable=False),  # "" for a control without one
        pa.field("version", pa.int64(), nullable=False),  # of the space, 0 without one
        pa.field("proteins_version", pa.int64(), nullable=False),
        pa.field("pooling", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("trained", pa.bool_(), nullable=False),
        pa.field("recipe", pa.string(), nullable=False),  # JSON
        pa.field("task", pa.string(), nullable=False),
        pa.field("task_digest", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("train", pa.int64(), nullable=False),  # proteins; of several folds, the mean
        pa.field("protocol", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("probe", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),  # tested proteins, or chains, in the subset
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),  # null where it is not defined: one class, a constant
        pa.field("resampled", pa.list_(pa.float32()), nullable=False),  # the metric of each bootstrap draw
    ]
)
KEY = ("cell", "probe", "subset", "metric")  # of which no two rows have the same
_TRIES = 12  # an attempt fails only where another evaluation, or a new holder of the lease, got on with its own
_LONGEST_PAUSE = 2.0  # seconds; drawn by chance, so that two which met do not meet again
_VALUES_OF_ONE_FILTER = 1000


def read_cells(location: Location) -> set[str]:
    """Digests of all cells whose results the store holds; none where the table is not there."""
    table = find_table(location.table(EVALUATIONS_TABLE))
    return set() if table is None else _cells(table)


def _cells(table: lance.LanceDataset) -> set[str]:
    return set(table.to_table(columns=["cell"])["cell"].unique().to_pylist())


def append_cells(location: Location, rows: pa.Table) -> int:
    """Append the rows of cells that the table does not hold yet, in one commit; returns how many rows that were.

    `rows` has the schema EVALUATIONS and holds cells whole. A cell is never there twice, whoever appends at the same
    time: before it looks which cells are there, each attempt commits a version across which Lance does not move an
    append (`commit.fence`). So of two that look at once, the one whose version is the earlier cannot append any more,
    and looks again. An append whose answer was lost is found by the next look. Raises CommitError, and StoreError
    where the table has other columns.
    """
    from protea_ray.store.commit import fence, write_fragments  # a reader of a store loads nothing that writes

    uri = location.table(EVALUATIONS_TABLE)
    ensure_table(uri, EVALUATIONS)
    problem: OSError | None = None
    for _ in _attempts():
        try:
            version = fence(uri)
            new = _without_cells(rows, _cells(open_table(uri, version)))
            fragments = write_fragments(uri, new, EVALUATIONS)
            if fragments:
                _append_at(uri, version, fragments)
            return len(new)
        except OSError as error:
            problem = error
    raise CommitError(
        f"{uri} did not take results in {_TRIES} attempts: {message(problem) if problem else 'no reason given'}. What "
        "it holds is whole; when the cause is gone, run the same command again: what is there is not computed again."
    ) from problem


def _attempts() -> Iterator[None]:
    """Yield once for each attempt, the first at once, each later one after a pause that is longer on average."""
    for number in range(_TRIES):
        time.sleep(random.random() * min(0.05 * 2**number, _LONGEST_PAUSE) if number else 0.0)
        yield


def _without_cells(rows: pa.Table, present: Collection[str]) -> pa.Table:
    cells: list[str] = rows["cell"].to_pylist()
    return rows.filter(pa.array([cell not in present for cell in cells], pa.bool_()))


def _append_at(uri: str, version: int, fragments: Sequence[str]) -> None:
    """Commit fragments that were decided on at `version`; raises OSError where another one looked after that."""
    metadata = [FragmentMetadata.from_json(fragment) for fragment in fragments]
    transaction = lance.Transaction(version, lance.LanceOperation.Append(metadata))
    lance.LanceDataset.commit(uri, transaction, max_retries=0)


def read_evaluations(
    location: Location, *, columns: Sequence[str] | None = None, **filters: str | int | Collection[str]
) -> pa.Table:
    """Rows whose columns have the given values, as in `task="localization", space=["a", "b"]`, in the order of commits.

    `columns` None reads all; `resampled` is nearly all of their bytes. No rows where the table is not there. Raises
    ConfigError for a column that does not exist.
    """
    unknown = [name for name in [*filters, *(columns or ())] if name not in EVALUATIONS.names]
    if unknown:
        hints = [f"evaluations have no column {name!r}{did_you_mean(name, EVALUATIONS.names)}" for name in unknown]
        raise ConfigError(hints, where="evaluations")
    chosen = list(columns or EVALUATIONS.names)
    schema = pa.schema([EVALUATIONS.field(name) for name in chosen])
    table = find_table(location.table(EVALUATIONS_TABLE))
    if table is None:
        return schema.empty_table()
    parts = [table.to_table(columns=chosen, filter=filter) for filter in _sql(filters)]
    return pa.concat_tables(parts).cast(schema)


def _sql(filters: dict[str, str | int | Collection[str]]) -> Iterator[str | None]:
    """SQL filters that together give the rows, each once: a list of thousands of values goes into several."""
    listed = {name: [value] if isinstance(value, str | int) else list(dict.fromkeys(value)) for name, value in
              filters.items()}  # fmt: skip
    longest = max(listed, key=lambda name: len(listed[name]), default=None)
    if longest is None:
        yield None
        return
    rest = [among(name, values) for name, values in listed.items() if name != longest]
    for start in range(0, max(len(listed[longest]), 1), _VALUES_OF_ONE_FILTER):
        yield both(among(longest, listed[longest][start : start + _VALUES_OF_ONE_FILTER]), *rest)
