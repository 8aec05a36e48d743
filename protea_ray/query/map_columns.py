"""What colours the points of a map: length, fields of descriptions, and columns of a user's labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.errors import ConfigError
from protea_ray.pictures.map_data import MapColumn
from protea_ray.query.description_fields import description_fields
from protea_ray.query.training.label_table import LabelSource
from protea_ray.query.training.labels import Labels, read_labels

FEW_VALUES = 10  # a column of so many different whole numbers is one of classes
_LONGEST_CLASS = 200  # characters; a longer text is a sequence or an abstract, and the name of no class
_NAMES = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_date, pa.types.is_timestamp,
    pa.types.is_null,
)  # fmt: skip


def fields_as_columns(descriptions: pa.Array) -> tuple[list[MapColumn], list[str]]:
    """Columns of the fields that at least half of `descriptions` (n,) have, and sentences on all that were found."""
    columns, notes = [], []
    for field in description_fields(descriptions):
        said = f"{field.found:,} of {len(descriptions):,} descriptions have {field.written!r}"
        if 2 * field.found >= len(descriptions):
            columns.append(MapColumn(field.name, field.values.to_pylist()))
            notes.append(f"column {field.name}: {said}")
        else:
            notes.append(f"no column {field.name}: only {said}")
    return columns, notes


def map_labels(source: LabelSource | Labels, columns: Sequence[str] | str | None) -> tuple[Labels, list[str]]:
    """Read labels whose `columns` (None: all that can) colour points, with sentences on those that cannot.

    Raises InputError and ConfigError as `read_labels` does, and ConfigError for columns that were asked for and hold
    neither numbers nor names, or where no column does.
    """
    if columns is not None:
        columns = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
    labels = source if isinstance(source, Labels) else read_labels(source, columns=columns, keep_blank=True)
    absent = [name for name in columns or () if name not in labels.columns.column_names]
    problems = [f"{labels.source} has no column {name}" for name in absent]
    reasons = {name: why for name in labels.columns.column_names if (why := _no_colour(labels.columns[name]))}
    problems += [f"{labels.source}: column {name} {why}" for name, why in reasons.items() if name in (columns or ())]
    kept = [name for name in columns or labels.columns.column_names if name not in reasons and name not in absent]
    if problems or not kept:
        raise ConfigError(problems or f"{labels.source}: no column holds numbers or names of classes", where="labels")
    left_out = [f"{labels.source}: column {name} {why}, and is left out" for name, why in reasons.items()]
    chosen = Labels(labels.source, labels.ids, labels.columns.select(kept), labels.blank, labels.not_chosen)
    return chosen, left_out


def _no_colour(values: pa.ChunkedArray) -> str | None:
    """Why a column cannot colour points, in words; None where it can."""
    kind = _decoded(values).type
    if _is_number(kind):
        return None
    if not any(is_kind(kind) for is_kind in _NAMES):
        return f"holds {kind}, and neither numbers nor names"
    longest = pc.max(pc.utf8_length(_decoded(values).cast(pa.large_string()))).as_py() or 0
    return f"holds texts of up to {longest:,} characters" if longest > _LONGEST_CLASS else None


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def label_column_names(labels: Labels, taken: Sequence[str]) -> list[str]:
    """What the columns of labels are called on a map; one whose name is `taken` gets "(labels)" behind it."""
    return [f"{name} (labels)" if name in taken else name for name in labels.columns.column_names]


def labels_as_columns(labels: Labels, rows: np.ndarray, taken: Sequence[str]) -> tuple[list[MapColumn], list[str]]:
    """One column for each of the labels, (n,), from `rows` (n,) of them, -1 where a point has none.

    They are called as `label_column_names` says. Sentences say how many points have a value, and as what it was read.
    """
    columns, notes = [], []
    at = pa.array(np.maximum(rows, 0), mask=rows < 0)
    for name, values_by_row in zip(label_column_names(labels, taken), labels.columns.columns, strict=True):
        values, read_as = _values(values_by_row, at)
        column = MapColumn(name, values)
        known = int(np.isfinite(values).sum()) if isinstance(values, np.ndarray) else sum(map(bool, values))
        columns.append(column)
        notes.append(
            f"column {column.name} of {labels.source}: {known:,} of {len(rows):,} points have a value; {read_as}"
        )
    return columns, notes


def _values(column: pa.ChunkedArray, at: pa.Array) -> tuple[np.ndarray | list[str], str]:
    """The values at these rows as numbers or texts, and which of the two in words: the whole column decides."""
    column = _decoded(column)
    if _is_number(column.type):
        numbers = column.cast(pa.float64()).combine_chunks().fill_null(np.nan).to_numpy()
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        different = np.unique(numbers[~np.isnan(numbers)])
        if len(different) > FEW_VALUES or (different % 1).any():
            found = pa.array(numbers).take(at).fill_null(np.nan).to_numpy()
            return found, "numbers"
        texts = pa.array([None if np.isnan(value) else str(int(value)) for value in numbers], pa.large_string())
        return texts.take(at).fill_null("").to_pylist(), f"classes, as it has {len(different)} different whole numbers"
    texts = column.cast(pa.large_string()).combine_chunks()
    return texts.take(at).fill_null("").to_pylist(), "classes"
