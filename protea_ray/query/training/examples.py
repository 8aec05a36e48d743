"""What a training job reads: protein records joined to the rows of a space at one pin, as row numbers.

Only keys (and ids, where labels are joined) are read here: 28 bytes an example stay in memory, and the vectors are
fetched window by window. Joining a million records takes about a second.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from protea_ray.query.training.labels import LabelReport, Labels, label_report, label_rows
from protea_ray.query.view import View, distinct, matching
from protea_ray.store.keys import KeyIndex, join

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
