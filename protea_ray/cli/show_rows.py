"""Rows of a store as a person reads them: ids and descriptions are data from files and never markup."""

from __future__ import annotations

import pyarrow as pa

from protea_ray.cli.terminal import Column, on_terminal, print_table, say

LESSER = ("key", "n_ids", "source")  # left out first on a narrow terminal
TEXT = ("description", "detail")


def without_vectors(rows: pa.Table) -> pa.Table:
    """The columns that a person can read; keys in hex."""
    from protea_ray.query.file_formats.content import with_readable_keys

    shown = [field.name for field in rows.schema if not _is_vector(field.type) and field.name != "key"]
    return with_readable_keys(rows.select([*shown, *(["key"] if "key" in rows.schema.names else [])]))


def _is_vector(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_struct(kind)


def print_rows(rows: pa.Table, at_most: int) -> None:
    """The rows as a table: the first ones on a terminal, all in a pipe."""
    if not len(rows):
        say("0 proteins")
        return
    at_most = at_most if on_terminal() else len(rows)
    shown = [[_cell(value) for value in row.values()] for row in rows.slice(0, at_most).to_pylist()]
    print_table([_column(field) for field in rows.schema], shown)
    if len(rows) > at_most:
        say(f"{len(rows) - at_most:,} more; --out FILE or --format csv gives all of them")


def _column(field: pa.Field) -> Column:
    """Numbers to the right; keys and counts of ids go first, descriptions may be shortened."""
    number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    return Column(field.name, right=number, keep=field.name not in LESSER, text=field.name in TEXT)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
