"""Commits: how uncommitted fragments become visible in a table, exactly once each.

Workers write uncommitted fragments: Lance data files that no version names yet. A fragment travels to the driver as
JSON, and the driver's `Writer` commits it. Upkeep removes the files of fragments that were never committed.

Lance does not de-duplicate: the same fragments, or the same transaction uuid, committed twice are rows twice. Three
rules give exactly one commit:

* Read the version, then check the lease, then commit on that version. A driver that was replaced in between meets
  the new holder's *fence*, a Project onto the same schema: it changes no row and no column, but every append that was
  prepared on an earlier version fails. (An UpdateConfig does not make appends fail, and `max_retries=0` alone does
  not either: Lance rebases.)
* One put per commit (`max_retries=0`), so that after an error there is one question: is this transaction there?
* After an error look the transaction's uuid up in the versions since. Only when it is not there, and a fence has
  made sure that a late put cannot land any more, commit again.

Removed rows are marked in a deletion file, in a version of their own: readers pinned to an earlier version keep them.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata
from lance.fragment import write_fragments as lance_write_fragments

from protea_ray.errors import CommitError, StoreError
from protea_ray.store.object_store_errors import is_outage, message
from protea_ray.store.retries import attempts, with_retries
from protea_ray.store.tables import ensure_table, open_table

RowSource = pa.Table | Callable[[], pa.RecordBatchReader]  # a reader is consumed once; a function opens fresh ones


def write_fragments(uri: str, data: RowSource, schema: pa.Schema) -> list[str]:
    """Write rows as uncommitted fragments of the table at `uri`; returns their metadata, one JSON string each.

    `data` is a table, or a function that opens a fresh reader: every attempt calls it anew, because a retry on a
    consumed reader writes the rows that are left in it and reports success (15 of 20 rows in lance-ray 0.5). The
    table is created, empty, when it is missing; columns that others added to it are null in the new rows. Data without
    rows make no fragments. Raises StoreError when the table cannot take such rows or the store does not take the
    files; an error of the reader itself is raised unchanged, without another attempt.
    """
    ensure_table(uri, schema)
    rows = _WatchedRows(data, schema)

    def write() -> list[FragmentMetadata]:
        nonlocal rows
        rows = _WatchedRows(data, schema)
        try:
            return lance_write_fragments(rows.reader(), uri, schema=schema, mode="append")
        except Exception:
            if rows.raised is not None:
                raise rows.raised from None
            raise

    written = with_retries(
        write,
        retry_on=lambda error: isinstance(error, OSError) and rows.raised is None,
        give_up=lambda error: StoreError(f"{uri} did not take a data file: {message(error)}"),
    )
    return [json.dumps(f.to_json()) for f in written if f.physical_rows]


class _WatchedRows:
    """One pass over the data. It remembers the error of its source, of which Lance passes on only the message."""

    def __init__(self, data: RowSource, schema: pa.Schema) -> None:
        self._data = data
        self._schema = schema
        self.raised: BaseException | None = None

    def reader(self) -> pa.RecordBatchReader:
        if callable(self._data):
            return pa.RecordBatchReader.from_batches(self._schema, self._watched(self._data))
        same = self._data.schema.equals(self._schema)
        return (self._data if same else self._data.cast(self._schema)).to_reader()

    def _watched(self, opened: Callable[[], pa.RecordBatchReader]) -> Iterator[pa.RecordBatch]:
        try:
            yield from opened()
        except BaseException as error:
            self.raised = error
            raise


def landed_version(uri: str, transaction: lance.Transaction) -> int | None:
    """The version that a transaction became, found by its uuid; None when it is none of the versions since.

    The newest version is read first. A search for the data files would miss them after a compaction.
    """
    table = open_table(uri)
    for version in range(table.version, transaction.read_version, -1):
        committed = table.read_transaction(version)
        if committed is not None and committed.uuid == transaction.uuid:
            return version
    return None


def fence(uri: str) -> int:
    """Make appends that were prepared on an earlier version fail; returns the new version.

    It commits a Project onto the same schema: no row and no column changes, but Lance does not rebase an append
    across it. Raises OSError when another commit came in between; the caller tries again.
    """
    table = open_table(uri)
    operation = lance.LanceOperation.Project(table.lance_schema)
    return lance.LanceDataset.commit(uri, lance.Transaction(table.version, operation), max_retries=0).version


class MayWrite(Protocol):
    """The right to write a store: a `Lease`, or none at all (see `Writer.unleased`)."""

    def check(self) -> None:
        """Raise when this process may no longer write."""
        ...


class _Unleased:
    def check(self) -> None:
        """There is no lease, so this never raises."""


class Writer:
    """Changes the rows of a store's tables, and checks its lease before every commit. Nothing else changes rows.

    All methods raise CommitError when the store did not take a commit, and LeaseLostError, with nothing written, when
    the lease was lost. After a CommitError the change is not in the table, or, if the message says so, it could not
    be read whether it is: run the same command again, the table is the ledger.
    """

    def __init__(self, lease: MayWrite) -> None:
        self._lease = lease

    @classmethod
    def unleased(cls) -> Writer:
        """A writer without a lease, for appending single rows that depend on nothing another driver does.

        Moving an alias is such a row: of two rows appended at once both stay, and the later one counts. Vectors,
        proteins and rejects must never be written so: two drivers would store the same proteins twice.
        """
        return cls(_Unleased())

    def check(self) -> None:
        """Raise LeaseLostError when this process may no longer write."""
        self._lease.check()

    def append(self, uri: str, fragments: Sequence[str]) -> int:
        """Commit uncommitted fragments (JSON, see `write_fragments`) in one version; returns that version."""
        metadata = [FragmentMetadata.from_json(f) for f in fragments]
        return self.commit(uri, lance.LanceOperation.Append(metadata))

    def append_table(self, uri: str, table: pa.Table) -> int | None:
        """Write and commit a small table's rows; returns the version, or None when there are no rows."""
        fragments = write_fragments(uri, table, table.schema)
        return self.append(uri, fragments) if fragments else None

    def commit(self, uri: str, operation: lance.LanceOperation.BaseOperation) -> int:
        """Commit one operation exactly once, in one version; returns that version."""
        errors: list[OSError] = []
        for _ in attempts():  # not `with_retries`: a commit is only repeated once it is known not to have landed
            version = open_table(uri).version
            self.check()
            transaction = lance.Transaction(version, operation)
            try:
                return lance.LanceDataset.commit(uri, transaction, max_retries=0).version
            except OSError as error:
                errors.append(error)
            landed = self._outcome(uri, transaction)
            if landed is not None:
                return landed
        raise CommitError(
            f"{uri} did not take a commit in {len(errors)} attempts: {message(errors[-1])}. "
            "Nothing of it is in the table. When the cause is gone, run the same command again."
        ) from errors[-1]

    def _outcome(self, uri: str, transaction: lance.Transaction) -> int | None:
        """Find out, after an error, what became of a transaction: its version, or None once it can never land.

        Raises CommitError when the store cannot be read.
        """

        def look_up() -> int | None:
            landed = landed_version(uri, transaction)
            if landed is not None:
                return landed
            self.check()
            fence(uri)
            # the fence makes later puts fail, but one may have landed just before it
            return landed_version(uri, transaction)

        return with_retries(
            look_up,
            retry_on=_is_inconclusive,
            give_up=lambda error: CommitError(
                f"{uri} does not answer whether it took a commit: {message(error)}. "
                "When the store can be reached, run the same command again: what is in the table is not repeated."
            ),
        )

    def remove(self, uri: str, filter: str) -> int:
        """Remove the rows that match `filter` (SQL); returns how many. Without such a row there is no new version.

        The table is read before the lease is checked, and the delete is never moved to a later version, so a driver
        that was replaced in between can only mark rows that were there before its successor came.
        Repeating a removal after an error is harmless.
        """
        most = 0  # rows seen by any attempt: one whose answer was lost has removed them already

        def remove() -> int:
            nonlocal most
            table = open_table(uri)
            left = table.count_rows(filter)
            most = max(most, left)
            if left:
                self.check()
                table.delete(filter, conflict_retries=0)
            return most

        return with_retries(
            remove, give_up=lambda error: CommitError(f"{uri} did not take a removal of rows: {message(error)}")
        )


def _is_inconclusive(error: Exception) -> bool:
    """Whether a look-up failed by an outage or a lost race, and another look-up may succeed."""
    return isinstance(error, OSError) or (
        isinstance(error, StoreError) and (is_outage(error) or isinstance(error.__cause__, OSError))
    )


class GroupCommitter:
    """Collects the fragments of finished units, and commits them in groups of units.

    One commit costs 1 ms at 100 fragments and 101 ms at 50,000, and each leaves a version, so units are committed
    `max_units` at a time or when one has waited `max_seconds`, whichever comes first. Both limits are looked at when a
    unit is added, so the last units of a run wait for `flush`. `committed` is told the rows of each commit and the
    seconds that it took. After a failed commit every later one fails too: what
    the table holds is not known here, so the next run reads it.
    """

    def __init__(
        self,
        writer: Writer,
        uri: str,
        *,
        max_units: int = 64,
        max_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        committed: Callable[[int, float], None] = lambda rows, seconds: None,
    ) -> None:
        self.committed_rows = 0
        self.commits = 0
        self._writer = writer
        self._uri = uri
        self._max_units = max_units
        self._max_seconds = max_seconds
        self._clock = clock
        self._committed = committed
        self._oldest = 0.0  # when the first waiting unit was added
        self._units: set[str] = set()
        self._waiting: list[tuple[list[str], int]] = []
        self._failed: CommitError | None = None

    def add(self, unit: str, fragments: Sequence[str], rows: int) -> None:
        """Add one finished unit, and commit all waiting ones when a limit is reached.

        `rows`: how many rows its fragments hold. Raises StoreError for a unit that was added before.
        """
        if unit in self._units:
            raise StoreError(f"unit {unit} was finished twice in one run; its rows would be in {self._uri} twice")
        self._units.add(unit)
        if fragments:
            self._oldest = self._oldest if self._waiting else self._clock()
            self._waiting.append((list(fragments), rows))
        waited = self._clock() - self._oldest if self._waiting else 0.0
        if len(self._waiting) >= self._max_units or waited >= self._max_seconds:
            self.flush()

    def flush(self) -> None:
        """Commit all waiting units; without any there is no new version.

        Raises CommitError, after a failed commit on every later call too.
        """
        if self._failed is not None:
            raise self._failed
        if not self._waiting:
            return
        began = self._clock()
        try:
            self._writer.append(self._uri, [f for fragments, _ in self._waiting for f in fragments])
        except BaseException as error:  # an interrupt in the middle leaves the outcome open as well
            self._failed = CommitError(f"an earlier commit to {self._uri} did not finish: {error}")
            raise
        rows = sum(rows for _, rows in self._waiting)
        self.committed_rows += rows
        self.commits += 1
        self._waiting.clear()
        self._committed(rows, self._clock() - began)
