"""Checking the results of evaluations: that every row can be read, is finite, and is there once.

Results can be computed again from spaces and tasks, so damage costs time and no data. A cell is what is computed and
committed whole, so a cell with one damaged row is damaged. Results of spaces that are gone are history.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import lance
import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.store.evaluations import EVALUATIONS, KEY
from protea_ray.store.findings import Finding
from protea_ray.store.location import EVALUATIONS_TABLE, Location
from protea_ray.store.object_store_errors import message, raise_unless_damage
from protea_ray.store.tables import changed_columns, find_table

_BATCH = 1024  # rows of about 4 KB, most of it resampled values


@dataclass
class ReadEvaluations:
    """How many rows were read (None: there is no such table), and what is wrong with them."""

    count: int | None = None
    findings: list[Finding] = field(default_factory=list[Finding])


def read_results(location: Location) -> ReadEvaluations:
    """Read all rows of the table of evaluations. Raises Lance's own errors of an outage."""
    read = ReadEvaluations()
    try:
        table = find_table(location.table(EVALUATIONS_TABLE))
        if table is not None:
            read.count = 0
            read.findings += _changed(table) or _check_rows(table, read)
    except BaseException as error:  # as in verify_space.py
        raise_unless_damage(error)
        read.findings.append(Finding("unreadable", EVALUATIONS_TABLE, message(error)[:300]))
    return read


def _changed(table: lance.LanceDataset) -> list[Finding]:
    problems = changed_columns(table, EVALUATIONS)
    return [Finding("unreadable", EVALUATIONS_TABLE, problem[:300]) for problem in problems]


def _check_rows(table: lance.LanceDataset, read: ReadEvaluations) -> list[Finding]:
    rows: Counter[tuple[str, ...]] = Counter()
    broken: Counter[str] = Counter()
    for batch in table.to_batches(batch_size=_BATCH):
        read.count = (read.count or 0) + batch.num_rows
        rows.update(zip(*(batch.column(name).to_pylist() for name in KEY), strict=True))
        broken.update(batch.filter(_is_broken(batch)).column("cell").to_pylist())
    return [*_not_finite(broken), *_repeated(rows)]


def _is_broken(batch: pa.RecordBatch) -> pa.Array:
    """(rows,) whether the value is there and not finite, or a resampled one is infinite: NaN is one not defined."""
    value, drawn = batch.column("value"), batch.column("resampled")
    infinite = pc.list_parent_indices(drawn).filter(pc.is_inf(pc.list_flatten(drawn)))
    beyond = pc.is_in(pa.array(range(batch.num_rows), pa.int64()), value_set=infinite.cast(pa.int64()))
    return pc.or_(pc.fill_null(pc.invert(pc.is_finite(value)), False), beyond)


def _not_finite(broken: Counter[str]) -> Iterator[Finding]:
    for cell, count in sorted(broken.items()):
        yield Finding("non_finite", EVALUATIONS_TABLE, f"{count:,} results are NaN or Inf", count, unit=cell)


def _repeated(rows: Counter[tuple[str, ...]]) -> Iterator[Finding]:
    more: Counter[str] = Counter()
    for key, count in rows.items():
        if count > 1:
            more[key[0]] += count - 1
    for cell, count in sorted(more.items()):
        yield Finding("duplicate", EVALUATIONS_TABLE, f"{count:,} results are there more than once", count, unit=cell)
