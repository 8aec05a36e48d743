"""Rows of a store as a person reads them: ids and descriptions are data from files and never markup."""

from __future__ import annotations

import pyarrow as pa

from protea_ray.cli.tables import Column, print_table, say


def without_vectors(rows: pa.Table) -> pa.Table:
    """The columns that a person can read; keys in hex."""
    shown = [field.name for field in rows.schema if not _is_vector(field.type) and field.name != "key"]
    table = rows.select(shown)
    if "key" in rows.schema.names:
        keys = pa.array([key.hex() for key in rows["key"].to_pylist()], pa.string())
        table = table.append_column("key", keys)
    return table


def _is_vector(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_struct(kind)


def print_rows(rows: pa.Table, at_most: int) -> None:
    """The first rows as a table; ids and descriptions are data and never markup."""
    if not len(rows):
        print("0 proteins")
        return
    shown = [[_cell(value) for value in row.values()] for row in rows.slice(0, at_most).to_pylist()]
    print_table([Column(name) for name in rows.schema.names], shown)
    if len(rows) > at_most:
        say(f"{len(rows) - at_most:,} more; --out FILE or --format csv gives all of them")


def _cell(value: object) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text[:80]
