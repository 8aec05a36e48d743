"""Stores with random vectors, built without a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.store.commit import Writer, write_fragments
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location, open_location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.sources import SourceRow, record_sources
from protea_ray.store.spaces import SpaceInfo, ensure_space

WIDTH = 8
LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


@dataclass(frozen=True)
class FakeLease:
    """A lease whose `check` is any function."""

    check: Callable[[], None]


def writer(check: Callable[[], None] = lambda: None) -> Writer:
    """A writer that calls `check` before every commit; by default it may always write."""
    return Writer(FakeLease(check))


def sequence(number: int) -> str:
    """The letters of protein `number`: 10 to 59 residues, always the same."""
    rng = np.random.default_rng(number)
    return "".join(rng.choice(LETTERS, 10 + int(rng.integers(50))))


def key(number: int) -> bytes:
    return hashlib.sha256(sequence(number).encode()).digest()[:16]


def vector(number: int, width: int = WIDTH) -> np.ndarray:
    """The vector of protein `number`, always the same, of length 1."""
    made = np.random.default_rng(1000 + number).normal(size=width)
    return (made / np.linalg.norm(made)).astype(np.float32)


def residues(number: int, width: int = WIDTH) -> np.ndarray:
    """The residue matrix of protein `number`: (residues, width)."""
    return np.random.default_rng(2000 + number).normal(size=(len(sequence(number)), width)).astype(np.float32)


def proteins(numbers: Sequence[int], source: str = "a.fasta#1", ids: Sequence[str] | None = None) -> pa.Table:
    rows = [
        {
            "id": ids[i] if ids else f"P{n:05d}",
            "key": key(n),
            "length": len(sequence(n)),
            "sequence": sequence(n),
            "description": f"protein {n}",
            "source": source,
            "line": 2 * i + 1,
        }
        for i, n in enumerate(numbers)
    ]
    return pa.Table.from_pylist(rows, PROTEINS_SCHEMA)


def ingest(location: Location, table: pa.Table, source: str = "a.fasta#1", digest: str = "d1") -> None:
    """Record one source with these proteins and no rejects."""
    residues = sum(table["length"].to_pylist())
    record_sources(
        location,
        [SourceRow(source, digest, "id/sequence", "/data/a.fasta", "fasta", len(table), 0, residues)],
        protein_fragments=write_fragments(location.table("proteins"), table, PROTEINS_SCHEMA),
        reject_fragments=[],
        run="r1",
        writer=writer(),
    )


def info(name: str = "esm2-00000001", **changes: object) -> SpaceInfo:
    fields = {
        "name": name,
        "identity": {"config": {"layers": [0], "pooling": ["mean"]}, "files": {"model.safetensors": "ab" * 32}},
        "config": {"model": "m", "family": "esm2", "layers": [0], "pooling": ["mean"], "chunk_size": None},
        "checkpoint": {"model": "m", "revision": None, "files": {"model.safetensors": "ab" * 32}},
        "hidden": WIDTH,
        "run": "r1",
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"lance": "14"},
        "trained": True,
    }
    return SpaceInfo(**{**fields, **changes})  # type: ignore[arg-type]


def schema(residue_width: int | None = None, dtype: str = "float32") -> pa.Schema:
    return space_schema({"mean": WIDTH}, dtype, residue_width, {})


def rows(numbers: Sequence[int], unit: str, of: pa.Schema, with_residues: bool = False) -> pa.Table:
    lengths = [len(sequence(n)) for n in numbers]
    return space_rows(
        of,
        keys=[key(n) for n in numbers],
        unit=unit,
        spans=[(0, length) for length in lengths],
        n_residues=lengths,
        n_residues_seen=lengths,
        n_windows=[1] * len(numbers),
        truncated=[False] * len(numbers),
        vectors={"mean": [vector(n) for n in numbers]},
        residues=[residues(n) for n in numbers] if with_residues else None,
    )


def fill(
    location: Location, space: str, numbers: Sequence[int], unit: str, of: pa.Schema, with_residues: bool = False
) -> int:
    """Append one unit to a space; returns the version."""
    uri = location.table(space)
    return writer().append(uri, write_fragments(uri, rows(numbers, unit, of, with_residues), of))


def store(
    root: Path, numbers: Sequence[int] = range(20), *, per_unit: int = 5, with_residues: bool = False
) -> Location:
    """A store with one source and one space that holds all of it, in units of `per_unit` proteins."""
    location = open_location(root)
    Lease.acquire(location).release()  # as after a run that ended in order
    ingest(location, proteins(numbers))
    of = schema(WIDTH if with_residues else None)
    ensure_space(location, info(), of)
    for start in range(0, len(numbers), per_unit):
        fill(location, info().name, numbers[start : start + per_unit], f"r1.{start}", of, with_residues)
    return location
