"""Opening, creating and counting tables. A table is created once and never overwritten."""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json

import lance
import pyarrow as pa

from protea_ray.errors import StoreError
from protea_ray.store.object_store_errors import is_missing_table, is_panic, is_retryable, message
from protea_ray.store.retries import with_retries

ALL_VERSIONS = 1_000_000_000  # for `retain_versions`: a cleanup that removes no version, only files that none names
_CREATIONS = 4  # attempts; no pauses, since after a lost race the winner's table is there at once


def open_table(uri: str, version: int | None = None) -> lance.LanceDataset:
    """The table's latest or given version; raises StoreError when it is missing or cannot be read."""
    try:
        return _open(uri, version)
    except BaseException as error:
        if not (isinstance(error, ValueError | OSError) or is_panic(error)):
            raise
        what = f"{uri}" if version is None else f"version {version} of {uri}"
        reason = "does not exist" if is_missing_table(error) else f"cannot be read: {message(error)}"
        raise StoreError(f"{what} {reason}") from error


def find_table(uri: str, version: int | None = None) -> lance.LanceDataset | None:
    """Open a table as `open_table` does; returns None when it does not exist."""
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

    Of two processes that create it at once, one creates it and the other opens that. `write_dataset(mode="create")`
    does not keep this promise (37 of 60 races overwrote the winner), an Overwrite from version 0 that is not allowed
    to retry does (60 of 60). Raises StoreError when an existing table cannot take rows of `schema`.
    """
    problem: Exception | None = None
    for _ in range(_CREATIONS):
        table = find_table(uri)
        if table is not None:
            return _same_columns(table, schema)
        operation = lance.LanceOperation.Overwrite(schema, [])
        try:
            lance.LanceDataset.commit(uri, lance.Transaction(0, operation), max_retries=0)
        except OSError as error:  # a lost race or a lost answer: in both cases the table is there now
            problem = error
    table = find_table(uri)
    if table is None:
        raise StoreError(f"{uri} cannot be created: {message(problem) if problem else 'no reason given'}")
    return _same_columns(table, schema)


def _same_columns(table: lance.LanceDataset, schema: pa.Schema) -> lance.LanceDataset:
    """Return the table; raises StoreError when rows of `schema` cannot be appended to it (see `obstacles`)."""
    found = obstacles(table, schema)
    if found:
        raise StoreError("; ".join(found))
    return table


def obstacles(table: lance.LanceDataset, schema: pa.Schema) -> list[str]:
    """Say in words why the table cannot take rows of `schema`, and what to do; empty when it can.

    A column that somebody added to the table stays where it may be null: Lance reads it as null in new rows.
    """
    return [*changed_columns(table, schema), *_strict_columns(table, schema)]


def changed_columns(table: lance.LanceDataset, schema: pa.Schema) -> list[str]:
    """Say in words which columns of `schema` the table lacks or has with another type; empty for none."""
    have, want = columns(table.schema), columns(schema)
    differ = [f"{n}: {have.get(n, 'missing')} in the table, {want[n]} wanted" for n in want if have.get(n) != want[n]]
    return [f"{table.uri} has other columns: {'; '.join(differ)}"] if differ else []


def _strict_columns(table: lance.LanceDataset, schema: pa.Schema) -> list[str]:
    """Say in words which columns were added to the table that new rows would have to fill; empty for none."""
    strict = [field.name for field in table.schema if field.name not in schema.names and not field.nullable]
    if not strict:
        return []
    nullable = ", ".join(f'{{"path": "{name}", "nullable": True}}' for name in strict)
    return [
        f"{table.uri} can be read, but takes no more rows: the added columns {', '.join(strict)} may not be null, "
        f"and new rows have no value for them. With lance.dataset(...) call alter_columns({nullable}), or "
        f"drop_columns({json.dumps(strict)}) and keep them in a table of your own"
    ]


def columns(schema: pa.Schema) -> dict[str, str]:
    """The type of each column in words, by the column's name.

    Extension types are given by their names, because their storage differs between a read and a written schema.
    """
    return {f.name: f.type.extension_name if isinstance(f.type, pa.BaseExtensionType) else str(f.type) for f in schema}


def count_rows(uri: str, filter: str | None = None, version: int | None = None) -> int:
    """Count the rows that match `filter` (SQL); 0 for a table that does not exist."""
    table = find_table(uri, version)
    return 0 if table is None else table.count_rows(filter)
