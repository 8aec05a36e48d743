"""What a training job reads: protein records joined to the rows of a space at one pin, as row numbers.

Only keys (and ids, where labels are joined) are read here: 28 bytes an example stay in memory, and the vectors are
fetched window by window. Joining a million records takes about a second.

Rows of a pin by row number: a window's or a task's vectors with the protein columns and labels beside them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import lance
import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError, StoreError
from protea_ray.query.training.labels import LabelReport, Labels, label_report, label_rows
from protea_ray.query.view import Pin, View, distinct, matching
from protea_ray.store.keys import KeyIndex, join
from protea_ray.store.location import Location
from protea_ray.store.rows import RESIDUES

_ROW = "_rowid"


@dataclass(frozen=True)
class Examples:
    """One example per protein record and stored chunk, in the order of the space's rows; all arrays (n,).

    `vectors` and `records` are row ids of the space and of the proteins, `labels` rows of the labels (-1 without),
    `residues` the length of the chunk. An id that two sources give with the same letters counts once.
    """

    vectors: np.ndarray
    records: np.ndarray
    labels: np.ndarray
    residues: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, which: np.ndarray | slice) -> Examples:
        return Examples(self.vectors[which], self.records[which], self.labels[which], self.residues[which])

    @property
    def digest(self) -> int:
        """A checksum: equal for the same examples in the same order."""
        parts = (self.vectors, self.records, self.labels)
        return zlib.crc32(b"".join(zlib.crc32(np.ascontiguousarray(p).data).to_bytes(4, "big") for p in parts))


def find_examples(view: View, filter: str | None, labels: Labels | None) -> tuple[Examples, LabelReport | None]:
    """Join at the view's pin; `filter` is SQL over protein columns.

    With labels only labelled records are kept, and the report says what did not join. Raises ConfigError for a
    filter that is none.
    """
    records = _records(view, filter, labels)
    rows = view.vectors.to_table(columns=["key", "chunk_start", "chunk_end", _ROW])
    left, right = join(rows["key"], records["key"])
    residues = rows["chunk_end"].to_numpy()[left] - rows["chunk_start"].to_numpy()[left]
    label = records["label"].to_numpy()
    found = Examples(rows[_ROW].to_numpy()[left], records[_ROW].to_numpy()[right], label[right], residues)
    if labels is None:
        return found, None
    used = found.labels >= 0
    unlabelled = len(np.unique(found.records[~used]))
    return found[used], label_report(labels, label, found.labels, unlabelled)


def _records(view: View, filter: str | None, labels: Labels | None) -> pa.Table:
    """key, _rowid and label row of every matching record, each (id, key) once."""
    ids = ["id"] if labels is not None else []
    found = matching(view.proteins, filter, ["key", _ROW, *ids])
    label = label_rows(labels, found["id"]) if labels is not None else np.full(len(found), -1, np.int32)
    found = found.select(["key", _ROW]).append_column("label", pa.array(label))
    return found.filter(pa.array(_first_of_each(view, found)))


def _first_of_each(view: View, records: pa.Table) -> np.ndarray:
    """True but for the repetitions of an (id, key). Ids are fetched only of keys that come several times."""
    keep = np.ones(len(records), bool)
    _, count = KeyIndex(records["key"]).find(records["key"])
    several = np.flatnonzero(count > 1)
    if len(several):
        rows = records[_ROW].to_numpy()[several]
        ids = view.proteins._take_rows(rows.tolist(), columns=["id"])["id"]
        table = pa.table({"id": ids, "key": records["key"].take(pa.array(several)), "at": several})
        keep[several] = False
        keep[distinct(table)["at"].to_numpy()] = True
    return keep


@dataclass(frozen=True)
class SelectedColumns:
    """What to read: columns of the proteins, of the space, whether residue matrices, and label columns."""

    proteins: tuple[str, ...]
    vectors: tuple[str, ...]
    residues: bool
    labels: tuple[str, ...]

    @classmethod
    def choose(cls, view: View, wanted: Sequence[str] | None, labels: Labels | None) -> SelectedColumns:
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

    def __init__(self, location: Location, pin: Pin, columns: SelectedColumns, labels: Labels | None) -> None:
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
    """SelectedColumns of these rows, in their order; read in the table's order, each row once, which is faster."""
    if not columns:
        return {}
    if len(rows) and (np.diff(rows.astype(np.int64)) > 0).all():
        found = table._take_rows(rows.tolist(), columns=list(columns))
    else:
        each, back = np.unique(rows, return_inverse=True)
        found = table._take_rows(each.tolist(), columns=list(columns)).take(pa.array(back))
    return {name: found[name] for name in columns}
