"""What a file is written from, whatever its format: rows of a store in parts, and the residue matrices behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError
from protea_ray.query.residues import ResidueMatrix
from protea_ray.query.training.labels import Labels
from protea_ray.query.view import CHUNK, View, matrix
from protea_ray.sequences.accessions import accessions
from protea_ray.store.keys import KeyIndex

NO_POOLING = "none"  # the pooling that is none: one row a residue


class NamedRow(NamedTuple):
    """One row to write: `values` is a vector (D,), or the residue matrix (residues, D).

    `label` is the id and `accession` the accession in it, or the id again; of chunks both end in /start. `letters` are
    those that the values were computed from, "" where they were not read. `whole`: the row is the whole protein that
    `key` names, and not a chunk of it.
    """

    label: str
    accession: str
    key: bytes
    values: np.ndarray
    letters: str
    whole: bool


@dataclass(frozen=True)
class Content:
    """Rows to write, in tables of one schema, read once.

    `view` is the reading of the store that they come from (None: not of one space). `pooling` is the vector column of
    formats that hold one, or "none" for residue matrices. `float32` widens half precision. `labels` are a user's, for
    formats that have room for them. A writer appends to `notes` what a person must know of the file, such as ids that
    it could not hold as they are.
    """

    parts: Iterable[pa.Table]
    view: View | None = None
    pooling: str = ""
    float32: bool = False
    labels: Labels | None = None
    notes: list[str] = field(default_factory=list)

    def tables(self) -> Iterator[pa.Table]:
        """The parts, in single precision where that is asked for."""
        for part in self.parts:
            yield widened(part) if self.float32 else part

    def whole(self) -> pa.Table:
        """Everything in memory, for formats that hold one matrix."""
        return pa.concat_tables(list(self.tables()))

    def named(self) -> Iterator[NamedRow]:
        """Every row with its vector or residue matrix."""
        for part in self.tables():
            values = self._matrices(part) if self.pooling == NO_POOLING else matrix(part[self.pooling])
            yield from (NamedRow(*row) for row in zip(*self._names(part, values), strict=True))

    def _names(self, part: pa.Table, values: Iterable[np.ndarray]) -> tuple[Iterable, ...]:
        """The columns of NamedRow."""
        keys, starts, ends, lengths = (part[name].to_pylist() for name in ("key", *CHUNK, "length"))
        spans = list(zip(starts, ends, strict=True))
        read = part["sequence"].to_pylist() if "sequence" in part.schema.names else [""] * len(part)
        letters = [text[start:end] for text, (start, end) in zip(read, spans, strict=True)]
        whole = [span == (0, length) for span, length in zip(spans, lengths, strict=True)]
        short = self._with_start(accessions(part["id"]), part)
        return self.names_of(part), short, keys, values, letters, whole

    def names_of(self, part: pa.Table) -> list[str]:
        """The id of every row, of a chunk id/start."""
        return self._with_start(part["id"], part)

    def _with_start(self, ids: pa.ChunkedArray, part: pa.Table) -> list[str]:
        if self.view is None or not self.view.info.chunked:
            return ids.to_pylist()
        return [f"{id}/{start}" for id, start in zip(ids.to_pylist(), part["chunk_start"].to_pylist(), strict=True)]

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
    for position, column in enumerate(table.schema):
        if is_vector(column.type) and column.type.value_type == pa.float16():
            flat = pa.array(matrix(table[column.name]).astype(np.float32).ravel())
            wide = pa.FixedSizeListArray.from_arrays(flat, column.type.list_size)
            table = table.set_column(position, column.name, wide)
    return table


def with_readable_keys(table: pa.Table) -> pa.Table:
    """The table with its keys in hex."""
    if "key" not in table.schema.names or pa.types.is_string(table.schema.field("key").type):
        return table
    keys = pa.array([key if key is None else key.hex() for key in table["key"].to_pylist()], pa.string())
    return table.set_column(table.schema.names.index("key"), "key", keys)
