"""The rejects of a store by reason, counted batch by batch: two million of them take no more than numbers of each.

What counts is what `query/rejected.py` lists (`query/standing_rejects.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import lance
import numpy as np

from protea_ray.pictures.store_data import RejectExample, RejectGroup
from protea_ray.query.rejected import files_of
from protea_ray.query.standing_rejects import COMPARED, RejectRows
from protea_ray.sequences.records import REASON_MEANINGS, Reason
from protea_ray.store.location import REJECTS_TABLE, Location
from protea_ray.store.tables import find_table

EXAMPLES = 20  # of each reason
LONGEST_TEXT = 300  # characters of an id or a detail; a rejected id may be a megabyte


def read_reject_groups(location: Location) -> tuple[RejectGroup, ...]:
    """Count the rejects of each reason, most frequent first, with the first EXAMPLES of each."""
    table = find_table(location.table(REJECTS_TABLE))
    if table is None or not table.count_rows():
        return ()
    rows = RejectRows.read(table.to_batches(columns=COMPARED), table.count_rows())
    kept = np.flatnonzero(rows.standing(location))
    reasons = rows.reason[kept]
    groups = [_group(location, table, name, kept[reasons == code]) for code, name in enumerate(rows.reasons)]
    return tuple(sorted((g for g in groups if g.count), key=lambda group: (-group.count, group.reason)))


def _group(location: Location, table: lance.LanceDataset, reason: str, rows: np.ndarray) -> RejectGroup:
    meaning = REASON_MEANINGS[Reason(reason)] if reason in tuple(Reason) else ""
    return RejectGroup(reason, meaning, len(rows), tuple(_examples(location, table, rows[:EXAMPLES])))


def _examples(location: Location, table: lance.LanceDataset, rows: np.ndarray) -> Iterator[RejectExample]:
    if not len(rows):
        return
    found = table.take(rows.tolist(), columns=["id", "source", "line", "detail"])
    files = files_of(location, found["source"]).to_pylist()
    for row, file in zip(found.to_pylist(), files, strict=True):
        yield RejectExample(_cut(row["id"]), file, row["line"], _cut(row["detail"]))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
