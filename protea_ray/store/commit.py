"""Making fragments visible: the driver's commits, exactly once each.

Lance does not de-duplicate: the same fragments, or the same transaction uuid, committed twice are rows twice. Three
rules give exactly one:

* Read the version, then check the lease, then commit on that version. A driver that was replaced in between meets
  the new holder's *fence*, a Project onto the same schema: it changes nothing, but every append that began before it
  is refused. (An UpdateConfig does not refuse appends, and `max_retries=0` alone does not either: Lance rebases.)
* One put per commit (`max_retries=0`), so that after an error there is one thing to ask: is this transaction there?
* After an error look the transaction's uuid up in the versions since. Only when it is not there, and a fence has
  made sure that a late put cannot land any more, commit again.

Uncommitted fragments: what workers write. Only the driver makes them visible, see commit.py.

A fragment travels to the driver as JSON. Its files are orphans until a commit names them; upkeep removes those of
attempts that were never committed.

Removing rows: marks in a deletion file, in one version, that pinned readers of earlier versions never see.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata
from lance.fragment import write_fragments as lance_write_fragments

from protea_ray.errors import CommitError, StoreError
from protea_ray.store.object_store_errors import is_outage, message
from protea_ray.store.tables import PAUSES, ensure_table, open_table

Rows = pa.Table | Callable[[], pa.RecordBatchReader]


def write_fragments(uri: str, data: Rows, schema: pa.Schema) -> list[str]:
    """Write rows as uncommitted fragments of the table at `uri`; returns their metadata, one JSON string each.

    `data` is a table, or a function that opens a fresh reader: every attempt calls it anew, because a retry on a
    consumed reader writes what is left of it and reports success (15 of 20 rows in lance-ray 0.5). The table is
    created, empty, when it is missing. No rows, no fragments. Raises StoreError when the store does not take the
    files, and whatever the reader itself raised, unchanged and without another attempt.
    """
    ensure_table(uri, schema)
    problem: Exception | None = None
    for pause in PAUSES:
        time.sleep(pause)
        rows = _Rows(data, schema)
        try:
            written = lance_write_fragments(rows.reader(), uri, schema=schema, mode="append")
        except Exception as error:
            if rows.raised is not None:
                raise rows.raised from None
            if not isinstance(error, OSError):
                raise
            problem = error
            continue
        return [json.dumps(f.to_json()) for f in written if f.physical_rows]
    raise StoreError(f"{uri} did not take a data file: {message(problem) if problem else ''}") from problem


class _Rows:
    """One pass over the data that remembers what its source raised: Lance only passes the message on."""

    def __init__(self, data: Rows, schema: pa.Schema) -> None:
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


Guard = Callable[[], None]


def append(uri: str, fragments: Sequence[str], *, guard: Guard) -> int:
    """Commit uncommitted fragments (JSON, see fragments.py) in one version; returns that version.

    `guard` is called between reading the version and committing, and raises when this process may no longer write.
    Raises CommitError when the store did not take the commit; the rows are then not in the table, or, if the
    message says so, it could not be read whether they are: run the same command again, the table is the ledger.
    """
    metadata = [FragmentMetadata.from_json(f) for f in fragments]
    return commit(uri, lance.LanceOperation.Append(metadata), guard=guard)


def append_table(uri: str, table: pa.Table, *, guard: Guard) -> int | None:
    """Write and commit a small table's rows; returns the version, or None when there are no rows."""
    fragments = write_fragments(uri, table, table.schema)
    return append(uri, fragments, guard=guard) if fragments else None


def commit(uri: str, operation: lance.LanceOperation.BaseOperation, *, guard: Guard) -> int:
    """Commit one operation exactly once; returns its version. Raises CommitError."""
    problem: Exception | None = None
    for pause in PAUSES:
        time.sleep(pause)
        version = open_table(uri).version
        guard()
        transaction = lance.Transaction(version, operation)
        try:
            return lance.LanceDataset.commit(uri, transaction, max_retries=0).version
        except OSError as error:
            problem = error
        landed = settle(uri, transaction, guard=guard)
        if landed is not None:
            return landed
    raise CommitError(
        f"{uri} did not take a commit in {len(PAUSES)} attempts: {message(problem) if problem else ''}. "
        "Nothing of it is in the table. When the cause is gone, run the same command again."
    ) from problem


def settle(uri: str, transaction: lance.Transaction, *, guard: Guard) -> int | None:
    """What became of a transaction after an error: its version, or None once it can never land any more.

    Raises CommitError when the store does not answer, and whatever `guard` raises.
    """
    problem: Exception | None = None
    for pause in PAUSES:
        time.sleep(pause)
        try:
            landed = landed_version(uri, transaction)
            if landed is not None:
                return landed
            guard()
            fence(uri)
            # a fence that was taken refuses late puts, but one may have landed just before it
            return landed_version(uri, transaction)
        except (OSError, StoreError) as error:
            if isinstance(error, StoreError) and not is_outage(error) and not isinstance(error.__cause__, OSError):
                raise
            problem = error
    raise CommitError(
        f"{uri} does not answer whether it took a commit: {message(problem) if problem else ''}. "
        "When the store can be reached, run the same command again: what is in the table is not repeated."
    ) from problem


def landed_version(uri: str, transaction: lance.Transaction) -> int | None:
    """The version that a transaction became, found by its uuid; None when no version since is it.

    Versions are asked newest first. Data files would be the wrong thing to look for: a compaction rewrites them.
    """
    table = open_table(uri)
    for version in range(table.version, transaction.read_version, -1):
        found = table.read_transaction(version)
        if found is not None and found.uuid == transaction.uuid:
            return version
    return None


def fence(uri: str) -> int:
    """Refuse every append that read the table before now; returns the new version, which differs in nothing.

    Raises OSError when another commit came in between; the caller looks again.
    """
    table = open_table(uri)
    operation = lance.LanceOperation.Project(table.lance_schema)
    return lance.LanceDataset.commit(uri, lance.Transaction(table.version, operation), max_retries=0).version


class GroupCommitter:
    """Collects the fragments of finished units and commits them in groups.

    One commit costs 1 ms at 100 fragments and 101 ms at 50,000, and each leaves a version, so units are committed
    `max_units` at a time or when one has waited `max_seconds`, whichever comes first. After a failed commit nothing
    more is accepted: what the table holds is then for the next run to read, not for this object to guess.
    """

    def __init__(
        self,
        uri: str,
        *,
        max_units: int = 64,
        max_seconds: float = 30.0,
        guard: Guard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.committed_rows = 0
        self.commits = 0
        self._uri = uri
        self._max_units = max_units
        self._max_seconds = max_seconds
        self._guard = guard
        self._clock = clock
        self._oldest = 0.0  # when the first of those that wait came
        self._units: set[str] = set()
        self._waiting: list[tuple[list[str], int]] = []
        self._failed: CommitError | None = None

    def add(self, unit: str, fragments: Sequence[str], rows: int) -> None:
        """Take one finished unit; commits when a limit is reached. Raises StoreError for a unit that came before."""
        if unit in self._units:
            raise StoreError(f"unit {unit} was finished twice in one run; its rows would be in {self._uri} twice")
        self._units.add(unit)
        if fragments:
            self._oldest = self._oldest if self._waiting else self._clock()
            self._waiting.append((list(fragments), rows))
        self.tick()

    def tick(self) -> None:
        """Commit if a limit is reached; to be called now and then while no unit finishes."""
        waited = self._clock() - self._oldest if self._waiting else 0.0
        if len(self._waiting) >= self._max_units or waited >= self._max_seconds:
            self.flush()

    def flush(self) -> None:
        """Commit all that waits; nothing waiting, no version. Raises CommitError, and again on every later call."""
        if self._failed is not None:
            raise self._failed
        if not self._waiting:
            return
        try:
            append(self._uri, [f for fragments, _ in self._waiting for f in fragments], guard=self._guard)
        except BaseException as error:  # an interrupt in the middle leaves the outcome open as well
            self._failed = CommitError(f"an earlier commit to {self._uri} did not finish: {error}")
            raise
        self.committed_rows += sum(rows for _, rows in self._waiting)
        self.commits += 1
        self._waiting.clear()


def remove_rows(uri: str, filter: str, *, guard: Guard) -> int:
    """Remove the rows that match `filter`; returns how many. No matching row, no new version.

    The table is read before `guard` is asked and the delete is never moved to a later version, so that a driver
    that was replaced in between can only mark rows that were there before its successor came.
    Repeating it after an error is harmless. Raises CommitError.
    """
    problem: Exception | None = None
    found = 0
    for pause in PAUSES:
        time.sleep(pause)
        try:
            table = open_table(uri)
            left = table.count_rows(filter)
            found = max(found, left)
            if not left:
                return found
            guard()
            table.delete(filter, conflict_retries=0)
            return found
        except OSError as error:
            problem = error
    raise CommitError(f"{uri} did not take a removal of rows: {message(problem) if problem else ''}") from problem
