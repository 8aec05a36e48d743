"""Rows of a pin by row number: a window's or a task's vectors with the protein columns and labels beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import lance
import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError, StoreError
from protea_ray.query.training.examples import Examples
from protea_ray.query.training.labels import Labels
from protea_ray.query.view import Pin, View
from protea_ray.store.location import Location
from protea_ray.store.rows import RESIDUES


@dataclass(frozen=True)
class Columns:
    """What to read: columns of the proteins, of the space, whether residue matrices, and label columns."""

    proteins: tuple[str, ...]
    vectors: tuple[str, ...]
    residues: bool
    labels: tuple[str, ...]

    @classmethod
    def choose(cls, view: View, wanted: Sequence[str] | None, labels: Labels | None) -> Columns:
        """`wanted` None: id, every pooled vector, and the chunk's place in a chunked space.

        Raises ConfigError for unknown columns and for a label column that is also one of the store.
        """
        names = [*_CHUNK[: 2 * view.info.chunked], *view.poolings, "id"] if wanted is None else list(wanted)
        residues = RESIDUES in names
        if not names:
            raise ConfigError("name at least one column", where="columns")
        if residues and view.facts["residue_width"] is None:
            raise StoreError(f"space {view.pin.space} keeps no residue matrices; embed with --pooling none")
        own, vectors = view.split_columns([n for n in names if n != RESIDUES])
        own = [n for n in own if n in names]
        labelled = tuple(labels.columns.column_names) if labels is not None else ()
        both = [n for n in labelled if n in (*own, *vectors, RESIDUES, MASK)]
        if both:
            raise ConfigError(f"the labels have columns that are read from the store: {', '.join(both)}; rename them",
                              where="labels")  # fmt: skip
        return cls(tuple(own), tuple(vectors), residues, labelled)


_CHUNK = ("chunk_start", "chunk_end")
MASK = "mask"  # of padded residue matrices


class Reader:
    """Opens its tables when it is first used, in whichever process that is; only plain values travel."""

    def __init__(self, location: Location, pin: Pin, columns: Columns, labels: Labels | None) -> None:
        self.location = location
        self.pin = pin
        self.columns = columns
        self.labels = labels

    def __getstate__(self) -> dict:
        return {k: v for k, v in vars(self).items() if k != "view"}

    @cached_property
    def view(self) -> View:
        """The tables at the pin."""
        return View(self.location, self.pin)

    def read(self, examples: Examples) -> pa.Table:
        """The columns that were chosen, but for residue matrices; one row per example, in their order."""
        read = _taken(self.view.vectors, examples.vectors, self.columns.vectors)
        for name, column in _taken(self.view.proteins, examples.records, self.columns.proteins).items():
            read[name] = column
        if self.labels is not None:
            rows = pa.array(examples.labels)
            read |= {name: self.labels.columns[name].take(rows) for name in self.columns.labels}
        return pa.table(read)

    def read_residues(self, examples: Examples) -> list[np.ndarray]:
        """One (residues, width) matrix per example, not copied from what was read."""
        facts = self.view.facts
        rows, back = np.unique(examples.vectors, return_inverse=True)
        blobs = self.view.vectors.read_blobs(RESIDUES, ids=rows.tolist(), preserve_order=True)
        found = [np.frombuffer(raw or b"", facts["store_dtype"]) for _, raw in blobs]
        return [found[i].reshape(-1, facts["residue_width"]) for i in back.tolist()]


def _taken(table: lance.LanceDataset, rows: np.ndarray, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """Columns of these rows, in their order; read in the table's order, each row once, which is faster."""
    if not columns:
        return {}
    if len(rows) and (np.diff(rows.astype(np.int64)) > 0).all():
        found = table._take_rows(rows.tolist(), columns=list(columns))
    else:
        each, back = np.unique(rows, return_inverse=True)
        found = table._take_rows(each.tolist(), columns=list(columns)).take(pa.array(back))
    return {name: found[name] for name in columns}
