"""Examples of a training job at one pin: first joined as row numbers, then read as rows.

`find_examples` joins protein records to the rows of a space. It reads keys, and ids where labels are joined; 28 bytes
an example stay in memory, and a million records take about a second. `Reader` fetches the columns of some of these
examples when a training loop or a Ray task needs them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.errors import ConfigError, InputError, StoreError
from protea_ray.query import lookup
from protea_ray.query.training.labels import LabelMatch, LabelReport, Labels, examples_of, label_report, match_labels
from protea_ray.query.training.read_process import ReadProcess, is_forked
from protea_ray.query.view import CHUNK, Pin, View, distinct, matching
from protea_ray.store.keys import KeyIndex, join
from protea_ray.store.ledger import ROW_ID
from protea_ray.store.location import Location
from protea_ray.store.object_store_errors import outage_as_store_error
from protea_ray.store.rows import RESIDUES

MASK = "mask"  # column that marks the residues of a padded batch


@dataclass(frozen=True)
class Examples:
    """One example for each protein record and stored chunk, in the order of the space's rows; all arrays are (n,).

    `vectors` and `records` are row ids in the space and in the proteins, `labels` are rows of the labels (-1 where
    there is none), `residues` are lengths of chunks. An id that two sources give with the same letters counts once.
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
        """A CRC-32 of the row numbers, by which states of earlier versions name the examples; upkeep changes it."""
        parts = (self.vectors, self.records, self.labels)
        return zlib.crc32(b"".join(zlib.crc32(np.ascontiguousarray(p).data).to_bytes(4, "big") for p in parts))


def find_examples(view: View, where: str | None, labels: Labels | None) -> tuple[Examples, LabelReport | None]:
    """Join records to vectors, and to labels if there are any, at the view's pin.

    `where` is SQL over protein columns. With labels only labelled records are kept, of an id with several sequences
    the newest, and the report counts what did not join. Raises ConfigError for a filter that is not valid SQL or that
    no protein passes, InputError for labels of which none is used, StoreError where nothing has a vector.
    """
    rows = view.vectors.to_table(columns=["key", "chunk_start", "chunk_end", ROW_ID])
    if not len(rows):
        raise StoreError(f"space {view.pin.space} holds no vector at version {view.pin.version}; its latest version is "
                         f"{view.vectors.latest_version}")  # fmt: skip
    if labels is None:
        return _joined(rows, _distinct_records(view, _records(view, where))), None
    match = match_labels(labels, view.proteins.to_table(columns=["id"])["id"])
    lookup.say(match.sentences)
    records = _records(view, where, match)
    newest, several = _newest(view, records, rows["key"])
    found = _joined(rows, _distinct_records(view, records.filter(pa.array(newest))))
    used = found.labels >= 0
    unlabelled = len(np.unique(found.records[~used]))
    passed = records["label"].to_numpy()
    report = label_report(labels, match, passed, found.labels, unlabelled, several)
    if not used.any():
        raise InputError(f"{report} The ids of the labels look like {examples_of(labels)}; the store is "
                         f"{view.location.uri}, {lookup.examples_of_ids(view)}")  # fmt: skip
    return found[used], report


def _joined(rows: pa.Table, records: pa.Table) -> Examples:
    """Rows of the space joined to records by key; raises StoreError when no record has a vector."""
    left, right = join(rows["key"], records["key"])
    if not len(left):
        raise StoreError(f"none of the {len(records):,} protein records that were chosen has a vector in this space")
    residues = rows["chunk_end"].to_numpy()[left] - rows["chunk_start"].to_numpy()[left]
    label = records["label"].to_numpy()
    return Examples(rows[ROW_ID].to_numpy()[left], records[ROW_ID].to_numpy()[right], label[right], residues)


def _records(view: View, where: str | None, match: LabelMatch | None = None) -> pa.Table:
    """Key, row id and label row of every record that passes the filter; raises ConfigError when none does."""
    ids = ["id"] if match is not None else []
    found = matching(view.proteins, where, ["key", ROW_ID, *ids])
    if not len(found):
        what = "the store holds no proteins" if where is None else f"no protein of the store passes {where!r}"
        raise ConfigError(what, where="where")
    label = np.full(len(found), -1, np.int32) if match is None else match.rows(found["id"])
    return found.select(["key", ROW_ID]).append_column("label", pa.array(label))


def _newest(view: View, records: pa.Table, stored: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) False for the earlier sequences of a labelled id, and the label rows of ids that have several.

    `stored` are the keys of the space. Sources are read only for labelled ids that occur in several records.
    """
    label = records["label"].to_numpy()
    keep = np.ones(len(records), bool)
    again = np.flatnonzero((label >= 0) & (np.bincount(label[label >= 0], minlength=1)[np.maximum(label, 0)] > 1))
    if not len(again):
        return keep, again
    some = records.take(pa.array(again))
    keys = some["key"].combine_chunks()
    sources = view.proteins._take_rows(some[ROW_ID].to_pylist(), columns=["source"])["source"]
    has_vector = KeyIndex(stored).contains(keys)
    keep[again] = lookup.newest_rows(label[again], keys, lookup.added_times(view.location, sources), has_vector)
    return keep, np.unique(label[~keep])


def _distinct_records(view: View, records: pa.Table) -> pa.Table:
    """Records without those whose id and key an earlier one has."""
    return records.filter(pa.array(_first_of_each(view, records)))


def _first_of_each(view: View, records: pa.Table) -> np.ndarray:
    """(n,) False where an earlier record has the same id and key. Ids are read only for keys that occur again."""
    keep = np.ones(len(records), bool)
    _, count = KeyIndex(records["key"]).find(records["key"])
    several = np.flatnonzero(count > 1)
    if len(several):
        rows = records[ROW_ID].to_numpy()[several]
        ids = view.proteins._take_rows(rows.tolist(), columns=["id"])["id"]
        table = pa.table({"id": ids, "key": records["key"].take(pa.array(several)), "at": several})
        keep[several] = False
        keep[distinct(table)["at"].to_numpy()] = True
    return keep


@dataclass(frozen=True)
class SelectedColumns:
    """What to read: columns of the proteins and of the space, residue matrices or not, and columns of the labels."""

    proteins: tuple[str, ...]
    vectors: tuple[str, ...]
    residues: bool
    labels: tuple[str, ...]

    @classmethod
    def choose(cls, view: View, wanted: Sequence[str] | None, labels: Labels | None) -> SelectedColumns:
        """Sort the columns `wanted` by the table that holds them.

        None takes the id, every pooled vector, and in a chunked space the chunk's start and end. Raises ConfigError
        for unknown columns and for a label column that the store has too, StoreError for residues that are not kept.
        """
        names = [*CHUNK[: 2 * view.info.chunked], *view.poolings, "id"] if wanted is None else list(wanted)
        residues = RESIDUES in names
        if not names:
            raise ConfigError("name at least one column", where="columns")
        if residues and view.facts["residue_width"] is None:
            raise StoreError(f"space {view.pin.space} keeps no residue matrices; embed with --pooling none")
        kept = [RESIDUES] if view.facts["residue_width"] is not None else []
        own, vectors = view.split_columns([n for n in names if n != RESIDUES], also=kept)
        own = [n for n in own if n in names]
        if labels is not None and labels.per_residue and not residues:
            raise ConfigError(f"{', '.join(labels.per_residue)}: labels for each residue come with the column "
                              "'residues'", where="residue_labels")  # fmt: skip
        labelled = tuple(labels.columns.column_names) if labels is not None else ()
        both = [n for n in labelled if n in (*own, *vectors, RESIDUES, MASK)]
        if both:
            raise ConfigError(f"the labels have columns that are read from the store: {', '.join(both)}; rename them",
                              where="labels")  # fmt: skip
        return cls(tuple(own), tuple(vectors), residues, labelled)


class Reader:
    """Reads rows of examples at a pin. A pickled Reader holds no open table: each process opens its own."""

    def __init__(self, location: Location, pin: Pin, columns: SelectedColumns, labels: Labels | None) -> None:
        self.location = location
        self.pin = pin
        self.columns = columns
        self.labels = labels

    def __getstate__(self) -> dict:
        return {k: v for k, v in vars(self).items() if k not in ("view", "_process")}

    @cached_property
    def view(self) -> View:
        """The tables at the pin."""
        return View(self.location, self.pin)

    @cached_property
    def _process(self) -> ReadProcess:
        """What reads for a forked process."""
        return ReadProcess(self)

    def load(self, examples: Examples) -> tuple[pa.Table, list[np.ndarray] | None]:
        """The rows of these examples, and their residue matrices if they were chosen.

        In a forked process another one reads them (see read_process.py).
        """
        if is_forked():
            return self._process.load(examples)
        return self.read(examples), self.read_residues(examples) if self.columns.residues else None

    @outage_as_store_error()
    def read(self, examples: Examples) -> pa.Table:
        """The chosen columns without residue matrices, one row per example, in the examples' order."""
        read = _take_columns(self.view.vectors, examples.vectors, self.columns.vectors)
        for name, column in _take_columns(self.view.proteins, examples.records, self.columns.proteins).items():
            read[name] = column
        if self.labels is not None:
            rows = pa.array(examples.labels)
            read |= {name: self.labels.columns[name].take(rows) for name in self.columns.labels}
            if self.labels.per_residue:
                spans = _take_columns(self.view.vectors, examples.vectors, CHUNK)
                read |= {name: cropped(read[name], *spans.values()) for name in self.labels.per_residue}
        return pa.table(read)

    @outage_as_store_error()
    def read_residues(self, examples: Examples) -> list[np.ndarray]:
        """One (residues, width) matrix per example: a view of the bytes that were read, not a copy."""
        facts = self.view.facts
        rows, back = np.unique(examples.vectors, return_inverse=True)
        blobs = self.view.vectors.read_blobs(RESIDUES, ids=rows.tolist(), preserve_order=True)
        found = [np.frombuffer(raw or b"", facts["store_dtype"]) for _, raw in blobs]
        return [found[i].reshape(-1, facts["residue_width"]) for i in back.tolist()]


def cropped(lists: pa.ChunkedArray, starts: pa.ChunkedArray, ends: pa.ChunkedArray) -> pa.Array:
    """Lists with one value for each residue of a protein, cut to the residues of the chunks."""
    whole = lists.combine_chunks()
    parts = zip(starts.to_pylist(), ends.to_pylist(), strict=True)
    offsets = whole.offsets.to_numpy()
    values = [whole.values[offsets[row] + start : offsets[row] + end] for row, (start, end) in enumerate(parts)]
    lengths = np.concatenate([[0], np.cumsum([len(part) for part in values])])
    return pa.LargeListArray.from_arrays(pa.array(lengths, pa.int64()), pa.concat_arrays(values))


def require_residue_labels(view: View, examples: Examples, labels: Labels) -> None:
    """Raise InputError that names the proteins whose labels per residue are not as many as their residues."""
    records = _take_columns(view.proteins, examples.records, ("id", "length"))
    for name in labels.per_residue:
        lists = labels.columns[name].take(pa.array(examples.labels))
        have, wanted = pc.list_value_length(lists).to_numpy(), records["length"].to_numpy()
        wrong = np.flatnonzero(have != wanted)
        if len(wrong):
            first = [(records["id"][row], have[row], wanted[row]) for row in wrong[:5].tolist()]
            shown = "; ".join(f"{id} has {labels:,} for {residues:,} residues" for id, labels, residues in first)
            raise InputError(f"{labels.source}: column {name!r} does not fit {len(wrong):,} protein(s): {shown}")


def _take_columns(table: lance.LanceDataset, rows: np.ndarray, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """Columns of these row ids, in their order. Each row is read once and in the table's order, which is faster."""
    if not columns:
        return {}
    if len(rows) and (np.diff(rows.astype(np.int64)) > 0).all():
        taken = table._take_rows(rows.tolist(), columns=list(columns))
    else:
        once, back = np.unique(rows, return_inverse=True)
        taken = table._take_rows(once.tolist(), columns=list(columns)).take(pa.array(back))
    return {name: taken[name] for name in columns}


@outage_as_store_error()
def content_digest(view: View, examples: Examples, labels: Labels | None) -> int:
    """A CRC-32 of what the examples are: keys, spans, ids and labels in their order, wherever the rows lie.

    It stays when upkeep moves rows and when others are added. Costs a scan of the keys and ids.
    """
    read = _take_columns(view.vectors, examples.vectors, ("key", "chunk_start"))
    read |= _take_columns(view.proteins, examples.records, ("id",))
    if labels is not None:
        rows = pa.array(examples.labels)
        read |= {f"label {name}": labels.columns[name].take(rows) for name in labels.columns.column_names}
    table = pa.table(read).replace_schema_metadata().combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1 << 16)
    return zlib.crc32(sink.getvalue())
