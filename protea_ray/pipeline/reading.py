"""What one Ray task reads: a part of a large source, or many small sources one after the other.

A task, a fragment and a commit cost the same for one protein as for a million, so small sources share all three. A
fragment may hold the rows of several sources: each row names its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import pyarrow as pa

from protea_ray.errors import InputError
from protea_ray.sequences.parts import Columns, Part
from protea_ray.sequences.read import Batch, read_part
from protea_ray.sequences.records import PROTEINS_SCHEMA, REJECTS_SCHEMA
from protea_ray.store.commit import write_fragments

SMALL = 1 << 20  # bytes of a source that shares its task with others
GROUP_BYTES = 16 << 20
GROUP_MOST, GROUP_LEAST = 256, 16  # sources of one task, by how many there are
TASKS = 64  # over which small sources are spread, so that every core of a node has some
REJECTS_HELD = 50_000  # rejects of one task kept in memory before they are written

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LabelledPart:
    """A part, the number of its source in this run and the label of its rows."""

    source: int
    label: str
    part: Part


@dataclass(slots=True)
class SourceCounts:
    """Records of one source that a task read; rejects are records too, residues those of accepted ones.

    `reasons`: the rejects by reason.
    """

    records: int = 0
    rejects: int = 0
    residues: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Count the records of a batch."""
        self.records += batch.proteins.num_rows + batch.rejects.num_rows
        self.rejects += batch.rejects.num_rows
        self.residues += sum(batch.proteins["length"].to_pylist())
        for reason in batch.rejects["reason"].to_pylist():
            self.reasons[reason] = self.reasons.get(reason, 0) + 1


def is_small(size: int) -> bool:
    """Whether a source of `size` bytes shares its task; one of unknown size (0) does not."""
    return 0 < size <= SMALL


def grouped(items: Sequence[T], size: Callable[[T], int]) -> list[list[T]]:
    """Put items of up to `SMALL` bytes together, in their order; each other one is alone."""
    most = min(GROUP_MOST, max(GROUP_LEAST, len(items) // TASKS))
    groups: list[list[T]] = []
    small: list[T] = []
    held = 0
    for item in items:
        if not is_small(size(item)):
            groups.append([item])
            continue
        if len(small) == most or held + size(item) > GROUP_BYTES:
            small, held = [], 0
        if not small:
            groups.append(small)
        small.append(item)
        held += size(item)
    return groups


def read_job(
    job: Sequence[LabelledPart], columns: Columns, run: str, proteins: str, rejects: str, limit: int | None
) -> dict[str, Any]:
    """Read the pieces of a job in order and write their rows as uncommitted fragments; the result is plain JSON.

    A source that cannot be read comes back among `errors` and leaves no row: the others are then read and written once
    more without it, and fragments of the first attempt are never committed. With a limit only the first `limit`
    records are read, and nothing after a source that cannot be read, for which records are first would be open.
    """
    reading = _Reading(job, columns, run, rejects, limit)
    while True:
        fragments = write_fragments(proteins, reading.proteins, PROTEINS_SCHEMA)
        if not reading.spoilt:
            break
    return {
        "counts": [(source, asdict(counts)) for source, counts in reading.counts.items()],
        "errors": list(reading.errors.items()),
        "proteins": fragments,
        "rejects": [*reading.written, *reading.write_rejects()],
    }


class _Reading:
    """The rows of a job. The store may ask for them again, after an attempt that failed: each starts from nothing."""

    def __init__(
        self, job: Sequence[LabelledPart], columns: Columns, run: str, rejects: str, limit: int | None
    ) -> None:
        self._job, self._columns, self._run = job, columns, run
        self._rejects, self._limit = rejects, limit
        self._held: list[pa.RecordBatch] = []
        self.errors: dict[int, str] = {}  # by source; kept over attempts
        self.counts: dict[int, SourceCounts] = {}
        self.written: list[str] = []
        self.spoilt = False  # rows of a source were handed out that turned out to be unreadable

    def proteins(self) -> pa.RecordBatchReader:
        """A fresh reader of the proteins of every source that was readable so far; rejects are held on the way."""
        self._held, self.counts, self.written, self.spoilt = [], {}, [], False
        return pa.RecordBatchReader.from_batches(PROTEINS_SCHEMA, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        left = self._limit
        for piece in self._job:
            if piece.source not in self.errors:
                yield from self._piece(piece, left)
            if self._limit is not None:
                if piece.source in self.errors:
                    return
                left = self._limit - sum(counts.records for counts in self.counts.values())

    def _piece(self, piece: LabelledPart, left: int | None) -> Iterator[pa.RecordBatch]:
        counts = self.counts.setdefault(piece.source, SourceCounts())
        try:
            for batch in read_part(piece.part, self._columns, piece.label, self._run, limit=left):
                counts.add(batch)
                self._hold(batch.rejects)
                if batch.proteins.num_rows:
                    yield batch.proteins
        except InputError as error:
            self.errors[piece.source] = "; ".join(error.problems)
            self.spoilt = self.spoilt or counts.records > 0
            del self.counts[piece.source]

    def _hold(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._held.append(batch)
        if sum(held.num_rows for held in self._held) > REJECTS_HELD:
            self.written += self.write_rejects()

    def write_rejects(self) -> list[str]:
        """Write the rejects that are held as uncommitted fragments, and let go of them; returns these as JSON."""
        held, self._held = self._held, []
        if not held:
            return []
        return write_fragments(self._rejects, pa.Table.from_batches(held, REJECTS_SCHEMA), REJECTS_SCHEMA)
