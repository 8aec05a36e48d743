"""Label columns as numbers: classes, and one class or number for each residue. Rows are chosen by their values.

Numbers are given over all rows of the labels, before any is left out, so that a training set and its test set, read
from one file, agree on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.errors import ConfigError, InputError

_SHOWN = 8  # values named in a message


def chosen_rows(name: str, table: pa.Table, where: Mapping[str, Any]) -> pa.Array:
    """(n,) True where every column of `where` has its value, or one of its values.

    Raises ConfigError for a value of another type than the column's, InputError where no row is left.
    """
    keep = pa.array(np.ones(len(table), bool))
    for column, value in where.items():
        values = list(value) if isinstance(value, list | tuple | set) else [value]
        try:
            wanted = pa.array(values).cast(table[column].type)
        except pa.ArrowException as error:
            raise ConfigError(f"{name}: column {column!r} holds {table[column].type} and cannot be {value!r}",
                              where="labels_where") from error  # fmt: skip
        keep = pc.and_(keep, pc.is_in(table[column].combine_chunks(), wanted))
    if where and not pc.any(keep).as_py():
        have = "; ".join(f"{column} is {_some(table[column])}" for column in where)
        raise InputError(f"{name}: no row has {dict(where)}; {have}")
    return keep


def _some(column: pa.ChunkedArray) -> str:
    values = column.unique().to_pylist()
    return ", ".join(map(repr, values[:_SHOWN])) + ", ..." * (len(values) > _SHOWN)


def with_codes(
    name: str, table: pa.Table, classes: Sequence[str], per_residue: Sequence[str]
) -> tuple[pa.Table, dict[str, tuple[Any, ...]]]:
    """The table with these columns as numbers, and the values that the numbers of each column stand for.

    Raises ConfigError for a column that is not among the labels or has a type that cannot be numbered.
    """
    both = [c for c in classes if c in per_residue]
    absent = [c for c in (*classes, *per_residue) if c not in table.column_names]
    if both or absent:
        raise ConfigError(f"{name}: {', '.join(both or absent)} cannot be numbered: a column is one of the labels, and "
                          "either a class or per residue", where="labels")  # fmt: skip
    numbered: dict[str, tuple[Any, ...]] = {}
    for column in (*classes, *per_residue):
        values = table[column].combine_chunks()
        if column in classes:
            codes, numbered[column] = _class_codes(name, column, values)
        else:
            codes, letters = _residue_codes(name, column, values)
            numbered |= {column: letters} if letters else {}
        table = table.set_column(table.column_names.index(column), column, codes)
    return table, numbered


def _class_codes(name: str, column: str, values: pa.Array) -> tuple[pa.Array, tuple[Any, ...]]:
    """(n,) int64, the place of each value among the sorted ones; null stays null."""
    if pa.types.is_nested(values.type) or pa.types.is_floating(values.type):
        raise ConfigError(
            f"{name}: column {column!r} holds {values.type}, whose values are no classes", where="classes"
        )
    known = values.drop_null().unique()
    known = known.take(pc.array_sort_indices(known))
    return pc.index_in(values, known).cast(pa.int64()), tuple(known.to_pylist())


def _residue_codes(name: str, column: str, values: pa.Array) -> tuple[pa.Array, tuple[str, ...]]:
    """Lists of int64 or float32, one number for each residue, and the sorted letters where the column is text."""
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _letter_codes(name, column, values)
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None
    if inner is not None and pa.types.is_integer(inner):
        return values.cast(pa.large_list(pa.int64())), ()
    if inner is not None and pa.types.is_floating(inner):
        return values.cast(pa.large_list(pa.float32())), ()
    raise ConfigError(f"{name}: column {column!r} holds {kind}, where a text with one letter a residue or a list of "
                      "numbers is needed", where="residue_labels")  # fmt: skip


def _letter_codes(name: str, column: str, values: pa.Array) -> tuple[pa.Array, tuple[str, ...]]:
    texts = values.cast(pa.large_string())
    letters = np.frombuffer("".join(texts.drop_null().to_pylist()).encode("utf-32-le"), np.uint32)
    known, codes = np.unique(letters, return_inverse=True)
    lengths = pc.utf8_length(texts).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    missing = texts.is_null()
    lists = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(codes.astype(np.int64)), mask=missing)
    return lists, tuple(map(chr, known.tolist()))
