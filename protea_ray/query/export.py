"""A space's proteins and vectors as a file for other programs, and the letters of what the space rejected.

Parquet is written 32,768 proteins at a time; npz and AnnData hold one matrix and need memory for all of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.config.paths import unwritable
from protea_ray.errors import ConfigError, StoreError
from protea_ray.query import lookup
from protea_ray.query.residues import ResidueMatrix
from protea_ray.query.search import pooling_of
from protea_ray.query.view import CHUNK, Pin, View, distinct, matrix
from protea_ray.sequences.text import fasta_text
from protea_ray.store.aliases import CURRENT
from protea_ray.store.ledger import scan_proteins
from protea_ray.store.location import REJECTS_TABLE
from protea_ray.store.sql import among, both, equals
from protea_ray.store.tables import find_table

if TYPE_CHECKING:
    from protea_ray.query.reader import Store

_AT_ONCE = 32_768  # proteins in memory: 84 MB of 1,280 half-precision values
_IDS_OF_ONE_FILTER = 1000


@dataclass(frozen=True)
class Exported:
    """What was written. `left_out` counts proteins without a vector, or rejects whose letters were never stored;
    `unknown` are ids that were asked for and are not in the store."""

    path: str
    rows: int
    left_out: int = 0
    unknown: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "unknown": list(self.unknown)}


@dataclass(frozen=True)
class Request:
    """What to export: a reading of the store, ids and a filter over protein columns (None: all), and one pooling.

    Formats that hold one matrix need a pooling (None: mean, else the first); Parquet writes all when it is None.
    """

    view: View
    ids: tuple[str, ...] | None
    where: str | None
    pooling: str | None
    float32: bool

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
) -> Exported:
    """Write a space's proteins and vectors to a local file; its ending decides the format.

    .parquet (all poolings, or the one named), .npz (arrays id, key, span and the pooling), .h5ad (AnnData: X, obs, uns;
    needs anndata), .h5 (biotrainer: one data set a protein with the attribute original_id; pooling "none" writes
    residue matrices; needs h5py). `float32` widens half precision, for readers without it such as DuckDB. `ids` and
    `where` (SQL over protein columns) choose proteins; both together, those that satisfy both. Ids are looked up as in
    `Store.get`. Before anything is read raises ConfigError for another ending, a path that cannot be written and a
    missing library; then for an unknown pooling and a filter that is none. Raises StoreError when nothing is left to
    write.
    """
    path = Path(path)
    _require_writable(path)
    view = store.view(space, version)
    found = None if ids is None else lookup.find_ids(view, [ids] if isinstance(ids, str) else list(ids))
    chosen = None if found is None else tuple(dict.fromkeys(found.stored.values()))
    if chosen == ():
        raise StoreError(f"none of the ids is in {store.uri}; {lookup.examples_of_ids(view)}. Nothing is written")
    done = _written(Request(view, chosen, where, pooling, float32), path)
    if not done.rows:
        why = f"{done.left_out:,} have no vector in space {view.pin.space}" if done.left_out else "none matches"
        raise StoreError(f"no protein to write: {why}. Nothing is written")
    return Exported(str(path), done.rows, done.left_out, () if found is None else found.unknown)


def _written(request: Request, path: Path) -> Exported:
    """Write beside `path` and rename: what was there before stays when nothing is written, or not all of it."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        beside = Path(folder) / f"rows{path.suffix}"
        done = _FORMATS[path.suffix].write(request, beside)
        if done.rows:
            beside.replace(path)
    return done


def _require_writable(path: Path) -> None:
    """Raises ConfigError that lists what would stop the export at its end."""
    problems = []
    if path.suffix not in _FORMATS:
        problems.append(f"{path.name}: the ending must be one of {', '.join(_FORMATS)}")
    problems += unwritable(path)
    problems += _missing_libraries(path.suffix)
    if problems:
        raise ConfigError(problems, where="export")


def _missing_libraries(suffix: str) -> list[str]:
    needed = _FORMATS[suffix].libraries if suffix in _FORMATS else ()
    return [f"{name} is not installed; pip install 'protea-ray[bio]'" for name in needed if find_spec(name) is None]


def export_rejects(store: Store, path: str | Path, *, space: str | Pin = CURRENT) -> Exported:
    """Write the proteins that a space rejected as FASTA, with the reason in the header.

    The letters of records rejected at ingest were never stored: they are counted in `left_out`, and rejects.lance names
    their file and line. Raises ConfigError for a missing directory.
    """
    path = Path(path)
    if problems := unwritable(path):
        raise ConfigError(problems, where="export")
    table = find_table(store.location.table(REJECTS_TABLE))
    if table is None:
        path.write_text("", encoding="utf-8")
        return Exported(str(path), 0)
    name = store.pin(space).space
    rows = table.to_table(columns=["key", "reason", "detail"], filter=equals("space", name)).to_pylist()
    reasons = {row["key"]: f"{row['reason']}: {row['detail']}" for row in rows if row["key"] is not None}
    written = 0
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for row in _first_records(store, reasons):
            out.write(fasta_text(row["id"], reasons[row["key"]], row["sequence"]))
            written += 1
    return Exported(str(path), written, table.count_rows("stage = 'ingest'"))


def _first_records(store: Store, keys: dict[bytes, str]) -> Iterator[dict[str, Any]]:
    """The first record of each key, with its letters."""
    left = set(keys)
    for batch in scan_proteins(store.location, None, ["id", "key", "sequence"]):
        for row in batch.to_pylist() if left else ():
            if row["key"] in left:
                left.discard(row["key"])
                yield row


def _joined(request: Request, columns: list[str] | None) -> Iterator[tuple[pa.Table, int]]:
    """Proteins joined to the space's `columns` (None: all poolings), 32,768 at a time, and how many have no vector."""
    own, vectors = request.view.split_columns(None if columns is None else ["length", "description", *columns])
    records = request.records(own)
    for start in range(0, max(1, len(records)), _AT_ONCE):
        joined, without = request.view.with_vectors(records.slice(start, _AT_ONCE), vectors)
        yield joined, len(without)


def _parquet(request: Request, path: Path) -> Exported:
    rows, left_out, writer = 0, 0, None
    for part, without in _joined(request, _parquet_columns(request)):
        table = _widened(part) if request.float32 else part
        writer = writer or pq.ParquetWriter(path, request.view.stamped(table).schema)
        writer.write_table(table)
        rows, left_out = rows + len(table), left_out + without
    if writer is not None:
        writer.close()
    return Exported(str(path), rows, left_out)


def _parquet_columns(request: Request) -> list[str] | None:
    """None for every pooling, or the one that was named; spans only where a protein has several."""
    if request.pooling is None:
        return None
    return [*(CHUNK if request.view.info.chunked else ()), pooling_of(request.view, request.pooling)]


def _widened(table: pa.Table) -> pa.Table:
    """Half-precision vectors as single precision, exactly."""
    for position, field in enumerate(table.schema):
        if pa.types.is_fixed_size_list(field.type) and field.type.value_type == pa.float16():
            flat = pa.array(matrix(table[field.name]).astype(np.float32).ravel())
            wide = pa.FixedSizeListArray.from_arrays(flat, field.type.list_size)
            table = table.set_column(position, field.name, wide)
    return table


def _whole(request: Request) -> tuple[pa.Table, str, int]:
    """Everything in memory, for formats that hold one matrix."""
    pooling = pooling_of(request.view, request.pooling)
    parts = list(_joined(request, [pooling, "chunk_start", "chunk_end"]))
    return pa.concat_tables([p for p, _ in parts]), pooling, sum(without for _, without in parts)


def _values(request: Request, table: pa.Table, pooling: str) -> np.ndarray:
    """(rows, D) vectors of one pooling, as they are stored or in single precision."""
    values = matrix(table[pooling])
    return values.astype(np.float32) if request.float32 else values


def _npz(request: Request, path: Path) -> Exported:
    table, pooling, left_out = _whole(request)
    ids = np.array(table["id"].to_pylist(), dtype=np.str_)
    keys = np.frombuffer(b"".join(table["key"].to_pylist()), np.uint8).reshape(-1, 16)
    spans = np.stack([table["chunk_start"].to_numpy(), table["chunk_end"].to_numpy()], axis=1)
    vectors = {pooling: _values(request, table, pooling)}
    np.savez(path, allow_pickle=False, id=ids, key=keys, span=spans, **vectors)
    return Exported(str(path), len(table), left_out)


def _h5ad(request: Request, path: Path) -> Exported:
    import anndata
    import pandas

    table, pooling, left_out = _whole(request)
    texts = {"description": table["description"].to_pylist(), "key": [k.hex() for k in table["key"].to_pylist()]}
    # plain objects: AnnData declines to write pandas 3's own strings unless told to
    columns = {name: pandas.Series(values, dtype=object) for name, values in texts.items()}
    obs = pandas.DataFrame(columns | {c: table[c].to_numpy() for c in ("length", "chunk_start", "chunk_end")})
    obs.index = pandas.Index(table["id"].to_pylist(), name="id", dtype=object)
    info = request.view.info
    uns = {**request.view.pin.to_json(), "pooling": pooling, "model": info.model, "trained": info.trained}
    values = matrix(table[pooling]).astype(np.float32)  # AnnData has no half precision
    var = pandas.DataFrame(index=pandas.Index([str(i) for i in range(values.shape[1])], dtype=object))
    anndata.AnnData(X=values, obs=obs, var=var, uns=uns).write_h5ad(path)
    return Exported(str(path), len(table), left_out)


def _h5(request: Request, path: Path) -> Exported:
    import h5py

    rows, left_out = 0, 0
    pooling = "none" if request.pooling == "none" else pooling_of(request.view, request.pooling)
    with h5py.File(path, "w") as out:
        for part, without in _joined(request, ["chunk_start"] if pooling == "none" else ["chunk_start", pooling]):
            for id, values in _by_id(request, part, pooling):
                stored = out.create_dataset(str(rows), data=values)  # numbered: an id may look like a path
                stored.attrs["original_id"] = id
                rows += 1
            left_out += without
    return Exported(str(path), rows, left_out)


def _by_id(request: Request, part: pa.Table, pooling: str) -> Iterator[tuple[str, np.ndarray]]:
    """Id and vector, or id and residue matrix, of every row; chunks as id/start."""
    starts = part["chunk_start"].to_pylist()
    chunked = request.view.info.chunked
    ids = [f"{i}/{s}" if chunked else i for i, s in zip(part["id"].to_pylist(), starts, strict=True)]
    if pooling != "none":
        yield from zip(ids, _values(request, part, pooling), strict=True)
        return
    for id, residues in zip(ids, _residues(request.view, part), strict=True):
        yield id, residues[:].astype(np.float32) if request.float32 else residues[:]


def _residues(view: View, part: pa.Table) -> Iterator[ResidueMatrix]:
    """The residue matrix of every row of `part`; raises ConfigError for a space without them."""
    facts = view.facts
    if facts["residue_width"] is None:
        raise ConfigError(f"space {view.pin.space} keeps no residue matrices", where="pooling")
    where = {}
    for batch in view.vectors.to_batches(columns=["key", "chunk_start"], with_row_id=True):
        columns = (batch.column(n).to_pylist() for n in ("key", "chunk_start", "_rowid"))
        where |= {(key, start): row for key, start, row in zip(*columns, strict=True)}
    for key, start in zip(part["key"].to_pylist(), part["chunk_start"].to_pylist(), strict=True):
        yield ResidueMatrix(view.vectors, where[key, start], start, facts["residue_width"], facts["store_dtype"])


@dataclass(frozen=True)
class _Format:
    """How a file of one ending is written, and the libraries of the [bio] extra that this takes."""

    write: Callable[[Request, Path], Exported]
    libraries: tuple[str, ...] = ()


_FORMATS = {
    ".parquet": _Format(_parquet),
    ".npz": _Format(_npz),
    ".h5ad": _Format(_h5ad, ("anndata", "pandas")),
    ".h5": _Format(_h5, ("h5py",)),
}
