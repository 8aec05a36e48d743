"""Why records of a run were rejected, with the first place of each reason: what a person looks for in a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from protea_ray.store.location import REJECTS_TABLE, Location
from protea_ray.store.sql import equals
from protea_ray.store.tables import find_table

_COLUMNS = ("source", "line", "reason", "stage")


@dataclass(frozen=True)
class RejectReason:
    """How many rejects have a reason, and where the first of them was: `proteins.fasta:12`."""

    reason: str
    rejects: int
    first: str

    def __str__(self) -> str:
        return f"{self.rejects:,} {self.reason} ({'first ' if self.rejects > 1 else ''}{self.first})"


def reasons_of(location: Location, labels: Sequence[str] | None, space: str) -> tuple[RejectReason, ...]:
    """The rejects of these sources (None: of all) that have no place in `space`, by reason, most frequent first."""
    found: dict[str, RejectReason] = {}
    wanted = None if labels is None else set(labels)
    tried: set[tuple[str, int]] = set()  # a protein that was tried again has a row for each time
    for source, line, reason, stage in _rows(location, space):
        if (wanted is not None and source not in wanted) or (source, line) in tried:
            continue
        if stage == "embed":
            tried.add((source, line))
        before = found.get(reason)
        first = f"{source.rpartition('#')[0]}:{line}"  # a label is the place of the source and its digest
        found[reason] = replace(before, rejects=before.rejects + 1) if before else RejectReason(reason, 1, first)
    return tuple(sorted(found.values(), key=lambda item: (-item.rejects, item.reason)))


def _rows(location: Location, space: str) -> Iterator[tuple[str, int, str, str]]:
    """Source, line, reason and stage of each reject that was no protein, or that this space rejected."""
    table = find_table(location.table(REJECTS_TABLE))
    if table is None:
        return
    kept = f"space IS NULL OR {equals('space', space)}"
    batch: pa.RecordBatch
    for batch in table.to_batches(columns=list(_COLUMNS), filter=kept):
        yield from zip(*(batch.column(name).to_pylist() for name in _COLUMNS), strict=True)
