"""Vectors for other programs: Parquet, npz, AnnData, biotrainer's HDF5, and the letters of what was rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.errors import ConfigError
from protea_ray.query.reader import Store
from protea_ray.query.residues import ResidueMatrix
from protea_ray.query.search import pooling_of
from protea_ray.query.view import Pin, View, distinct, matrix
from protea_ray.store.aliases import CURRENT
from protea_ray.store.ledger import scan_proteins
from protea_ray.store.location import REJECTS_TABLE
from protea_ray.store.sql import equals
from protea_ray.store.tables import find_table

_AT_ONCE = 32_768  # proteins in memory: 84 MB of 1,280 half-precision values
_LETTERS_A_LINE = 60


@dataclass(frozen=True)
class Exported:
    """What was written. `left_out` counts proteins without a vector, or rejects whose letters were never stored."""

    path: str
    rows: int
    left_out: int = 0


@dataclass(frozen=True)
class Request:
    """What to export: a reading of the store, a filter over protein columns, one pooling for single-matrix formats."""

    view: View
    where: str | None
    pooling: str | None
    float32: bool


def export(
    store: Store,
    path: str | Path,
    *,
    space: str | Pin = CURRENT,
    where: str | None = None,
    pooling: str | None = None,
    float32: bool = False,
    version: int | None = None,
) -> Exported:
    """Write a space's proteins and vectors to a local file; its ending decides the format.

    .parquet (all poolings; `float32` for readers without half precision, DuckDB among them), .npz (arrays id, key
    and the pooling), .h5ad (AnnData: X, obs, uns; needs anndata), .h5 (biotrainer: one dataset a protein with the
    attribute original_id; pooling "none" writes residue matrices; needs h5py). Raises ConfigError for another
    ending, an unknown pooling or filter, and a missing library.
    """
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise ConfigError(f"{path.name}: the ending must be one of {', '.join(_WRITERS)}", where="export")
    return _WRITERS[path.suffix](Request(store.view(space, version), where, pooling, float32), path)


def export_rejects(store: Store, path: str | Path, *, space: str | Pin = CURRENT) -> Exported:
    """Write the proteins that a space rejected as FASTA, with the reason in the header.

    Records refused at ingest never had their letters stored: they are counted in `left_out`, and rejects.lance
    names their file and line.
    """
    table = find_table(store.location.table(REJECTS_TABLE))
    if table is None:
        return Exported(str(path), 0)
    name = store.pin(space).space
    rows = table.to_table(columns=["key", "reason", "detail"], filter=equals("space", name)).to_pylist()
    reasons = {row["key"]: f"{row['reason']}: {row['detail']}" for row in rows if row["key"] is not None}
    written = 0
    with Path(path).open("w", encoding="utf-8", newline="\n") as out:
        for row in _letters(store, reasons):
            out.write(_fasta(row["id"], reasons[row["key"]], row["sequence"]))
            written += 1
    return Exported(str(path), written, table.count_rows("stage = 'ingest'"))


def _letters(store: Store, keys: dict[bytes, str]) -> Iterator[dict[str, Any]]:
    """The first record of each key."""
    left = set(keys)
    for batch in scan_proteins(store.location, None, ["id", "key", "sequence"]):
        for row in batch.to_pylist() if left else ():
            if row["key"] in left:
                left.discard(row["key"])
                yield row


def _fasta(id: str, description: str, letters: str) -> str:
    lines = [letters[i : i + _LETTERS_A_LINE] for i in range(0, len(letters), _LETTERS_A_LINE)]
    header = " ".join(f"{id} {description}".split())  # a line end inside an id must not start a record
    return "\n".join([f">{header}", *lines, ""])


def _parts(request: Request, columns: list[str]) -> Iterator[tuple[pa.Table, int]]:
    """Joined rows, some proteins at a time, and how many of these have no vector."""
    own, vectors = request.view.split_columns(None if not columns else ["length", "description", *columns])
    records = distinct(request.view.records(request.where, own))
    for start in range(0, max(1, len(records)), _AT_ONCE):
        joined, without = request.view.with_vectors(records.slice(start, _AT_ONCE), vectors)
        yield joined, len(without)


def _parquet(request: Request, path: Path) -> Exported:
    rows, left_out, writer = 0, 0, None
    for part, without in _parts(request, []):
        table = _widened(part) if request.float32 else part
        writer = writer or pq.ParquetWriter(path, request.view.stamped(table).schema)
        writer.write_table(table)
        rows, left_out = rows + len(table), left_out + without
    if writer is not None:
        writer.close()
    return Exported(str(path), rows, left_out)


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
    parts = list(_parts(request, [pooling, "chunk_start", "chunk_end"]))
    return pa.concat_tables([p for p, _ in parts]), pooling, sum(without for _, without in parts)


def _values(request: Request, table: pa.Table, pooling: str) -> np.ndarray:
    found = matrix(table[pooling])
    return found.astype(np.float32) if request.float32 else found


def _npz(request: Request, path: Path) -> Exported:
    table, pooling, left_out = _whole(request)
    ids = np.array(table["id"].to_pylist(), dtype=np.str_)
    keys = np.frombuffer(b"".join(table["key"].to_pylist()), np.uint8).reshape(-1, 16)
    spans = np.stack([table["chunk_start"].to_numpy(), table["chunk_end"].to_numpy()], axis=1)
    vectors = {pooling: _values(request, table, pooling)}
    np.savez(path, allow_pickle=False, id=ids, key=keys, span=spans, **vectors)
    return Exported(str(path), len(table), left_out)


def _h5ad(request: Request, path: Path) -> Exported:
    anndata, pandas = _needs("anndata"), _needs("pandas")
    table, pooling, left_out = _whole(request)
    texts = {"description": table["description"].to_pylist(), "key": [k.hex() for k in table["key"].to_pylist()]}
    # plain objects: AnnData refuses to write pandas 3's own strings unless told to
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
    h5py = _needs("h5py")
    rows, left_out = 0, 0
    pooling = "none" if request.pooling == "none" else pooling_of(request.view, request.pooling)
    with h5py.File(path, "w") as out:
        for part, without in _parts(request, ["chunk_start"] if pooling == "none" else ["chunk_start", pooling]):
            for id, values in _each(request, part, pooling):
                stored = out.create_dataset(str(rows), data=values)  # numbered: an id may look like a path
                stored.attrs["original_id"] = id
                rows += 1
            left_out += without
    return Exported(str(path), rows, left_out)


def _each(request: Request, part: pa.Table, pooling: str) -> Iterator[tuple[str, np.ndarray]]:
    """Id and vector, or id and residue matrix, of every row; chunks as id/start."""
    starts = part["chunk_start"].to_pylist()
    chunked = request.view.info.chunked
    ids = [f"{i}/{s}" if chunked else i for i, s in zip(part["id"].to_pylist(), starts, strict=True)]
    if pooling != "none":
        yield from zip(ids, _values(request, part, pooling), strict=True)
        return
    for id, found in zip(ids, _residues(request.view, part), strict=True):
        yield id, found[:].astype(np.float32) if request.float32 else found[:]


def _residues(view: View, part: pa.Table) -> Iterator[ResidueMatrix]:
    facts = view.facts
    if facts["residue_width"] is None:
        raise ConfigError(f"space {view.pin.space} keeps no residue matrices", where="pooling")
    where = {}
    for batch in view.vectors.to_batches(columns=["key", "chunk_start"], with_row_id=True):
        columns = (batch.column(n).to_pylist() for n in ("key", "chunk_start", "_rowid"))
        where |= {(key, start): row for key, start, row in zip(*columns, strict=True)}
    for key, start in zip(part["key"].to_pylist(), part["chunk_start"].to_pylist(), strict=True):
        yield ResidueMatrix(view.vectors, where[key, start], start, facts["residue_width"], facts["store_dtype"])


def _needs(library: str) -> Any:
    try:
        return __import__(library)
    except ImportError:
        raise ConfigError(f"{library} is not installed; pip install 'protea-ray[bio]'", where="export") from None


_WRITERS: dict[str, Callable[[Request, Path], Exported]] = {
    ".parquet": _parquet,
    ".npz": _npz,
    ".h5ad": _h5ad,
    ".h5": _h5,
}
