"""What `status` and `query` print, for a person."""

from __future__ import annotations

import pyarrow as pa
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from protea_ray.cli.show import wide_console
from protea_ray.query.status import StoreStatus


def print_status(status: StoreStatus) -> None:
    """Spaces first: they are what a person came for."""
    console = wide_console()
    console.print(f"{status.uri}: {status.proteins:,} protein records", soft_wrap=True, markup=False)
    _print_spaces(console, status)
    tables = Table("table", "rows", "version", "on disk")
    for table in status.tables:
        tables.add_row(table.name, f"{table.rows:,}", str(table.version), decimal(table.bytes))
    console.print(tables)
    if status.rejects:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in status.rejects.items())
        console.print(f"rejected: {reasons} (see the table rejects for file, line and id)")
    if status.last_run:
        console.print(f"last run: {status.last_run['run']} ({status.last_run['kind']})")
    if status.writer:
        console.print(f"being written by {status.writer}", markup=False)


def _print_spaces(console: Console, status: StoreStatus) -> None:
    spaces = Table("space", "model", "proteins", "vectors", "alias")
    for space in status.spaces:
        vectors = [f"{pooling} {width} x {space.store_dtype}" for pooling, width in space.widths.items()]
        if space.residue_width:
            vectors.append(f"residues x {space.residue_width}")
        if space.tokens:
            vectors.append(f"logits x {len(space.tokens)}")
        aliases = ", ".join(name for name, alias in status.aliases.items() if alias["space"] == space.name)
        model = space.model if space.trained else f"{space.model} (untrained)"
        spaces.add_row(space.name, model, f"{space.keys:,}", ", ".join(vectors), aliases)
    console.print(spaces)


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
    console = wide_console()
    table = Table(*rows.schema.names)
    for row in rows.slice(0, at_most).to_pylist():
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)
    if len(rows) > at_most:
        console.print(f"{len(rows) - at_most:,} more; --out FILE.parquet writes all of them, with vectors")


def _cell(value: object) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("[", r"\[")[:80]
