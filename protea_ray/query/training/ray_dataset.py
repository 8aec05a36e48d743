"""A Ray data set over a store: proteins and vectors joined by key, read in parallel by the fragment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import ray.data

from protea_ray.cluster.connect import connect
from protea_ray.config.run import RunOptions
from protea_ray.errors import ConfigError
from protea_ray.query.training.examples import Examples, Reader, SelectedColumns, find_examples
from protea_ray.query.training.labels import Labels
from protea_ray.query.view import View, matrix
from protea_ray.store.rows import RESIDUES

ROWS_OF_ONE_TASK = 32_768  # 84 MB of 1,280 half-precision values: within Ray's block size of 128 MB
_FRAGMENT = 32  # a row id is the fragment's number above these bits, the row in it below


def ray_dataset(
    view: View, columns: Sequence[str] | None, where: str | None, labels: Labels | None
) -> ray.data.Dataset:
    """Columns `id`, those of the proteins and the space, and label columns; one row per record and stored chunk.

    Vectors are fixed-shape tensors, (n, D) in numpy and torch batches. Keys are joined here, 28 bytes a row; the
    tables are read by the tasks, from the same pinned versions, and never come through this process. The data set's
    name is `<space>@<version>`. Ray is joined or started as by `embed`: RAY_ADDRESS, else a local cluster.
    """
    chosen = SelectedColumns.choose(view, columns, labels)
    if chosen.residues:
        raise ConfigError(f"{RESIDUES!r} is not read here: matrices of different lengths make poor blocks; use "
                          "store.torch(columns=['residues'], token_budget=...)", where="columns")  # fmt: skip
    examples, report = find_examples(view, where, labels)
    if report is not None:
        report.say()
    tasks = [_table(examples[part]) for part in parts(examples)]
    read = _ReadRows(Reader(view.location, view.pin, chosen, labels))
    connect(RunOptions())
    made = ray.data.from_arrow(tasks).map_batches(read, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)
    made.set_name(f"{view.pin.space}@{view.pin.version}")
    return made


def parts(examples: Examples) -> list[slice]:
    """Cut the examples into slices of at most 32,768, each within one fragment of the space."""
    fragment = examples.vectors >> np.uint64(_FRAGMENT)
    edges = [0, *(np.flatnonzero(np.diff(fragment)) + 1).tolist(), len(examples)]
    return [
        slice(start, min(start + ROWS_OF_ONE_TASK, stop))
        for first, stop in pairwise(edges)
        for start in range(first, stop, ROWS_OF_ONE_TASK)
    ]


def _table(examples: Examples) -> pa.Table:
    return pa.table(vars(examples))


class _ReadRows:
    """Reads the rows of a batch of examples, in a Ray task."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __call__(self, rows: pa.Table) -> pa.Table:
        examples = Examples(**{name: rows[name].to_numpy() for name in rows.column_names})
        read = self._reader.read(examples)
        columns = {name: _tensors(read[name]) for name in read.column_names}
        return pa.table(columns)


def _tensors(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Vectors as tensors: Ray gives a plain list column to numpy as an array of objects."""
    if not pa.types.is_fixed_size_list(column.type):
        return column
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(matrix(column)))
