"""Files as the other programs write them, made from the vectors of tests.store.build."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

Vectors = Mapping[str, np.ndarray]  # by sequence or by id


def pth(path: Path, vectors: Vectors, dtype: torch.dtype = torch.float32) -> Path:
    torch.save({key: torch.from_numpy(v.copy()).to(dtype) for key, v in vectors.items()}, path)
    return path


def compact(vector: np.ndarray) -> bytes:
    """FastESM's self-describing blob."""
    return struct.pack(f"<BBi{vector.ndim}i", 1, 2, vector.ndim, *vector.shape) + vector.astype(np.float32).tobytes()


def saved(vector: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.from_numpy(vector.astype(np.float64)), buffer)
    return buffer.getvalue()


def sqlite(path: Path, vectors: Vectors, blob: Callable[[np.ndarray], bytes] = compact) -> Path:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE embeddings (sequence TEXT PRIMARY KEY, embedding BLOB NOT NULL)")
        file.executemany("INSERT INTO embeddings VALUES (?, ?)", [(key, blob(v)) for key, v in vectors.items()])
    return path


def sqlite_described(path: Path, vectors: Vectors) -> Path:
    """With columns for shape and dtype."""
    rows = [(k, v.astype(np.float16).tobytes(), ",".join(map(str, v.shape)), "float16") for k, v in vectors.items()]
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE embeddings (sequence TEXT PRIMARY KEY, embedding BLOB, shape TEXT, dtype TEXT)")
        file.executemany("INSERT INTO embeddings VALUES (?, ?, ?, ?)", rows)
    return path


def sqlite_runs(path: Path, runs: Mapping[str, Vectors]) -> Path:
    """With runs, of which the last was published last; the values are bfloat16."""
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE runs (run_id TEXT, metadata_json TEXT, created_at TEXT, published_order INTEGER)")
        file.execute("CREATE TABLE tensors (run_id TEXT, position INTEGER, dtype TEXT, shape_json TEXT, data BLOB, "
                     "sha256 TEXT)")  # fmt: skip
        file.execute("CREATE TABLE records (run_id TEXT, position INTEGER, record_id TEXT, sequence TEXT)")
        for order, (run, vectors) in enumerate(runs.items()):
            file.execute("INSERT INTO runs VALUES (?, '{}', '', ?)", (run, order))
            for position, (sequence, vector) in enumerate(vectors.items()):
                data = torch.from_numpy(vector.copy()).bfloat16().view(torch.uint8).numpy().tobytes()
                shape = json.dumps(list(vector.shape))
                file.execute("INSERT INTO tensors VALUES (?, ?, 'bfloat16', ?, ?, '')", (run, position, shape, data))
                file.execute("INSERT INTO records VALUES (?, ?, ?, ?)", (run, position, str(position), sequence))
    return path


def esm(folder: Path, vectors: Vectors, residues: Vectors | None = None, layers: tuple[int, ...] = (33,)) -> Path:
    """fair-esm's folder; the label is the FASTA header."""
    folder.mkdir()
    for id, vector in vectors.items():
        held = {"label": f"{id} some protein"}
        held["mean_representations"] = {layer: torch.from_numpy(vector * (layer / layers[-1])) for layer in layers}
        held["bos_representations"] = {layer: torch.from_numpy(-vector) for layer in layers}
        if residues is not None:
            held["representations"] = {layer: torch.from_numpy(residues[id]) for layer in layers}
        torch.save(held, folder / f"{id}.pt")
    return folder


def hdf5(path: Path, vectors: Vectors, by_hash: bool = True) -> Path:
    """biotrainer's file."""
    import h5py

    with h5py.File(path, "w") as file:
        for number, (id, vector) in enumerate(vectors.items()):
            name = f"hash{number}" if by_hash else id
            data = file.create_dataset(name, data=vector, compression="gzip", chunks=True)
            if by_hash:
                data.attrs["original_id"] = id
    return path
