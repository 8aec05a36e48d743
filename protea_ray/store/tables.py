"""Opening and creating tables. A table is created once and never overwritten."""

from __future__ import annotations

import lance
import pyarrow as pa

from protea_ray.errors import StoreError
from protea_ray.store.object_store_errors import is_missing_table, is_retryable, message
from protea_ray.store.retries import with_retries

_CREATIONS = 4  # attempts, without pauses: after a lost race the winner's table is there at once


def open_table(uri: str, version: int | None = None) -> lance.LanceDataset:
    """The table's latest or given version; raises StoreError when it is missing or cannot be read."""
    try:
        return _open(uri, version)
    except (ValueError, OSError) as error:
        what = f"{uri}" if version is None else f"version {version} of {uri}"
        reason = "does not exist" if is_missing_table(error) else f"cannot be read: {message(error)}"
        raise StoreError(f"{what} {reason}") from error


def find_table(uri: str, version: int | None = None) -> lance.LanceDataset | None:
    """As `open_table`, but None for a table that does not exist."""
    try:
        return open_table(uri, version)
    except StoreError as error:
        if version is None and error.__cause__ is not None and is_missing_table(error.__cause__):
            return None
        raise


def _open(uri: str, version: int | None) -> lance.LanceDataset:
    """Open a table, and try again in an outage; raises Lance's own error."""
    return with_retries(
        lambda: lance.dataset(uri, version=version),
        retry_on=lambda error: isinstance(error, ValueError | OSError) and is_retryable(error),
    )


def ensure_table(uri: str, schema: pa.Schema) -> lance.LanceDataset:
    """Open the table, creating it empty when it is missing; never overwrites.

    Two creators at once: one wins, the other opens. `write_dataset(mode="create")` does not keep that promise
    (37 of 60 races overwrote the winner), an Overwrite from version 0 that is not allowed to retry does (60 of 60).
    Raises StoreError when an existing table has other columns.
    """
    problem: Exception | None = None
    for _ in range(_CREATIONS):
        found = find_table(uri)
        if found is not None:
            return _same_columns(found, schema)
        operation = lance.LanceOperation.Overwrite(schema, [])
        try:
            lance.LanceDataset.commit(uri, lance.Transaction(0, operation), max_retries=0)
        except OSError as error:  # lost the race, or the acknowledgement: the next look tells
            problem = error
    found = find_table(uri)
    if found is None:
        raise StoreError(f"{uri} cannot be created: {message(problem) if problem else 'no reason given'}")
    return _same_columns(found, schema)


def _same_columns(found: lance.LanceDataset, schema: pa.Schema) -> lance.LanceDataset:
    """Raises StoreError that lists every column that differs in name or type."""
    have, want = columns(found.schema), columns(schema)
    if have == want:
        return found
    differ = [f"{n}: {have.get(n, 'missing')} in the table, {want.get(n, 'none')} wanted"
              for n in sorted({*have, *want}) if have.get(n) != want.get(n)]  # fmt: skip
    raise StoreError(f"{found.uri} has other columns: {'; '.join(differ) or 'another order'}")


def columns(schema: pa.Schema) -> dict[str, str]:
    """Type of each column in words; extension types by name, as their storage differs between reads and writes."""
    return {f.name: f.type.extension_name if isinstance(f.type, pa.BaseExtensionType) else str(f.type) for f in schema}


def count_rows(uri: str, filter: str | None = None, version: int | None = None) -> int:
    """Rows that match `filter`; 0 for a table that does not exist."""
    found = find_table(uri, version)
    return 0 if found is None else found.count_rows(filter)
