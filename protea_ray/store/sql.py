"""SQL filters for Lance scans. Ids, labels and keys become part of SQL here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

from protea_ray.errors import StoreError


def literal(value: str | bytes | int) -> str:
    """Write `value` as a SQL literal that means exactly that value.

    Quotes are doubled; a backslash is an ordinary character in this dialect. Bytes become a hexadecimal literal.
    Raises StoreError for NUL, which no id can hold and which ends some parsers' input.
    """
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, int):
        return str(int(value))
    if "\0" in value:
        raise StoreError(f"{value[:80]!r} holds a NUL character; no stored value does")
    return "'" + value.replace("'", "''") + "'"


def equals(column: str, value: str | bytes | int) -> str:
    """Filter for rows whose `column` (a name of ours, never a user's) is `value`."""
    return f"{column} = {literal(value)}"


def among(column: str, values: Iterable[str | bytes | int]) -> str:
    """Filter for rows whose `column` is one of `values`; without values no row passes."""
    listed = ", ".join(literal(v) for v in values)
    return f"{column} IN ({listed})" if listed else "false"


def both(*filters: str | None) -> str | None:
    """Filter for rows that pass all filters that are not None; None when all are."""
    given = [f"({f})" for f in filters if f]
    return " AND ".join(given) or None
