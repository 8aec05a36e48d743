"""What a file is written from, whatever its format: rows of a store in parts, and the residue matrices behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError
from protea_ray.query.residues import ResidueMatrix
from protea_ray.query.view import View, matrix
from protea_ray.store.keys import KeyIndex

NO_POOLING = "none"  # the pooling that is none: one row a residue


@dataclass(frozen=True)
class Content:
    """Rows to write, in tables of one schema, read once.

    `view` is the reading of the store that they come from (None: not of one space). `pooling` is the vector column of
    formats that hold one, or "none" for residue matrices. `float32` widens half precision.
    """

    parts: Iterable[pa.Table]
    view: View | None = None
    pooling: str = ""
    float32: bool = False

    def tables(self) -> Iterator[pa.Table]:
        """The parts, in single precision where that is asked for."""
        for part in self.parts:
            yield widened(part) if self.float32 else part

    def whole(self) -> pa.Table:
        """Everything in memory, for formats that hold one matrix."""
        return pa.concat_tables(list(self.tables()))

    def by_id(self) -> Iterator[tuple[str, bytes, np.ndarray]]:
        """Id, key and vector (D,), or residue matrix (residues, D), of every row; chunks as id/start."""
        for part in self.tables():
            ids = self._labels(part)
            keys = part["key"].to_pylist()
            values = self._matrices(part) if self.pooling == NO_POOLING else matrix(part[self.pooling])
            yield from zip(ids, keys, values, strict=True)

    def _labels(self, part: pa.Table) -> list[str]:
        ids = part["id"].to_pylist()
        if self.view is None or not self.view.info.chunked:
            return ids
        return [f"{id}/{start}" for id, start in zip(ids, part["chunk_start"].to_pylist(), strict=True)]

    def _matrices(self, part: pa.Table) -> Iterator[np.ndarray]:
        """The residue matrix of every row; raises ConfigError for a space without them."""
        view = self.view
        width = None if view is None else view.facts["residue_width"]
        if view is None or width is None:
            name = "these rows" if view is None else f"space {view.pin.space}"
            raise ConfigError(f"{name} keeps no residue matrices", where="pooling")
        rows = _row_ids(view, part["key"])
        for key, start in zip(part["key"].to_pylist(), part["chunk_start"].to_pylist(), strict=True):
            found = ResidueMatrix(view.vectors, rows[key, start], start, width, view.facts["store_dtype"])[:]
            yield found.astype(np.float32) if self.float32 else found


def _row_ids(view: View, keys: pa.ChunkedArray) -> dict[tuple[bytes, int], int]:
    """Where the rows of these keys lie in the space, by key and first residue."""
    wanted, found = KeyIndex(keys), {}
    for batch in view.vectors.to_batches(columns=["key", "chunk_start"], with_row_id=True):
        kept = batch.filter(pa.array(wanted.contains(batch.column("key"))))
        columns = (kept.column(name).to_pylist() for name in ("key", "chunk_start", "_rowid"))
        found |= {(key, start): row for key, start, row in zip(*columns, strict=True)}
    return found


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column holds one vector a row."""
    return pa.types.is_fixed_size_list(kind)


def widened(table: pa.Table) -> pa.Table:
    """Half-precision vectors as single precision, exactly."""
    for position, field in enumerate(table.schema):
        if is_vector(field.type) and field.type.value_type == pa.float16():
            flat = pa.array(matrix(table[field.name]).astype(np.float32).ravel())
            wide = pa.FixedSizeListArray.from_arrays(flat, field.type.list_size)
            table = table.set_column(position, field.name, wide)
    return table


def with_readable_keys(table: pa.Table) -> pa.Table:
    """The table with its keys in hex."""
    if "key" not in table.schema.names or pa.types.is_string(table.schema.field("key").type):
        return table
    keys = pa.array([key if key is None else key.hex() for key in table["key"].to_pylist()], pa.string())
    return table.set_column(table.schema.names.index("key"), "key", keys)
