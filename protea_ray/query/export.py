"""A space's proteins and vectors, or the letters of its proteins, as a file for other programs.

Rows are read and written 32,768 proteins at a time; npz and AnnData need memory for all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.errors import ConfigError, StoreError
from protea_ray.query import lookup
from protea_ray.query.file_formats.content import Content
from protea_ray.query.file_formats.endings import FORMATS, FileFormat, require_format, write_file
from protea_ray.query.map_columns import map_labels
from protea_ray.query.training.label_table import LabelSource
from protea_ray.query.training.labels import Labels
from protea_ray.query.view import Pin, View, distinct
from protea_ray.store.aliases import CURRENT
from protea_ray.store.sql import among, both

if TYPE_CHECKING:
    from protea_ray.query.reader import Store

_AT_ONCE = 32_768  # proteins in memory: 84 MB of 1,280 half-precision values
_IDS_OF_ONE_FILTER = 1000


@dataclass(frozen=True)
class Exported:
    """What was written. `left_out` counts proteins without a vector; `unknown` are ids that were asked for and are not
    in the store. `notes` say what the file could not hold as it is stored, such as an id."""

    path: str
    rows: int
    left_out: int = 0
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "unknown": list(self.unknown), "notes": list(self.notes)}


@dataclass(frozen=True)
class Request:
    """Which proteins to export: a reading of the store, ids and a filter over protein columns (None: all)."""

    view: View
    ids: tuple[str, ...] | None
    where: str | None

    def records(self, columns: Sequence[str]) -> pa.Table:
        """Protein records that are asked for, each (id, key) once; of an id that is named the newest sequence."""
        if self.ids is None:
            return distinct(self.view.records(self.where, columns))
        known = self.view.records_by("id", self.ids, list(lookup.VERSION))
        newest = lookup.newest(self.view, known)
        parts = [self.ids[i : i + _IDS_OF_ONE_FILTER] for i in range(0, len(self.ids), _IDS_OF_ONE_FILTER)] or [()]
        found = [self.view.records(both(among("id", part), self.where), columns) for part in parts]
        wanted = distinct(pa.concat_tables(found))
        return wanted if len(newest) == len(known) else lookup.of_pairs(wanted, newest)


def export(
    store: Store,
    path: str | Path,
    *,
    space: str | Pin = CURRENT,
    ids: Sequence[str] | None = None,
    where: str | None = None,
    pooling: str | None = None,
    float32: bool = False,
    version: int | None = None,
    labels: LabelSource | None = None,
    report: Reporter = SILENT,
) -> Exported:
    """Write a space's proteins to a local file; its ending decides the format.

    Rows of id, key, length, description and vectors (all poolings, or the one named): .parquet, .arrow, .csv, .tsv,
    .jsonl (the last three also .gz). Vectors of one pooling (None: mean, else the first): .npz (arrays id, key, span
    and the pooling), .h5ad (AnnData, with the other poolings in obsm unless one is named; needs anndata),
    .protspace.h5 (one data set a protein, named by its accession; needs h5py), .h5 (biotrainer: named by a hash of the
    letters, with the attribute original_id; needs h5py), .pt (fair-esm: a folder of one file a protein); pooling "none"
    writes residue matrices, to the last two. Letters: .fasta, also .gz. `float32` widens half precision, for readers
    without it. `labels` are a file or a table by id, whose columns .h5ad takes.

    `ids` and `where` (SQL over protein columns) choose proteins; both together, those that satisfy both. Ids are looked
    up as in `Store.get`. Before anything is read raises ConfigError for another ending, a path that cannot be written,
    a missing library and labels that no column of the file can hold; then for an unknown pooling and a filter that is
    none. Raises InputError for labels that cannot be read, StoreError when nothing is left to write or the disk does
    not take it.
    """
    format = require_format(path, "export")
    read, left_out = (None, []) if labels is None else _labels(labels, format)
    view = store.view(space, version)
    column = format.pooling(view, pooling)
    found = None if ids is None else lookup.find_ids(view, [ids] if isinstance(ids, str) else list(ids))
    chosen = None if found is None else tuple(dict.fromkeys(found.stored.values()))
    if chosen == ():
        raise StoreError(f"none of the ids is in {store.uri}; {lookup.examples_of_ids(view)}. Nothing is written")
    parts = _Joined(Request(view, chosen, where), format.columns(view, column, pooling), report)
    content = Content(parts, view, column, float32, read, left_out)
    rows = write_file(content, path, format)
    if not rows:
        why = f"{parts.left_out:,} have no vector in space {view.pin.space}" if parts.left_out else "none matches"
        raise StoreError(f"no protein to write: {why}. Nothing is written")
    return Exported(str(path), rows, parts.left_out, () if found is None else found.unknown, tuple(content.notes))


def _labels(labels: LabelSource, format: FileFormat) -> tuple[Labels, list[str]]:
    """The labels, and sentences on columns that cannot be taken; raises ConfigError for a format without room."""
    if not format.labels:
        able = ", ".join(ending for ending, format in FORMATS.items() if format.labels)
        raise ConfigError(f"labels go to {able} alone; join them to a table by its column id", where="labels")
    return map_labels(labels, None)


class _Joined:
    """Proteins joined to the space's columns that a format takes, 32,768 at a time; `left_out` have no vector."""

    def __init__(self, request: Request, columns: list[str] | None, report: Reporter) -> None:
        self._request, self._report = request, report
        self._columns = columns
        self.left_out = 0

    def __iter__(self) -> Iterator[pa.Table]:
        view = self._request.view
        own, vectors = view.split_columns(self._columns)
        self._report.phase("reading the protein records")
        records = self._request.records(own)
        self._report.work("writing", "records", len(records))
        for start in range(0, max(1, len(records)), _AT_ONCE):
            joined, without = view.with_vectors(records.slice(start, _AT_ONCE), vectors)
            self.left_out += len(without)
            yield view.stamped(joined)
            self._report.worked(min(_AT_ONCE, len(records) - start))
