"""Stores and files of labels for the tests of tasks. Proteins are those of tests.store.build, `P00000` and so on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from protea_ray.query.view import View
from protea_ray.store.location import Location
from tests.store import build

N = 30


def view_of(root: Path, numbers: Iterable[int] = range(N)) -> View:
    """A store with these proteins, read now."""
    return View.open(build.store(root / "s", list(numbers), per_unit=N), build.info().name)


def reopened(location: Location) -> View:
    return View.open(location, build.info().name)


def id_of(number: int) -> str:
    return f"P{number:05d}"


def write_rows(path: Path, rows: Iterable[Sequence[object]], header: str = "id,target,split") -> Path:
    """A CSV, or a TSV by its name."""
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    text = "\n".join(lines) + "\n"
    path.write_text(text.replace(",", "\t") if path.suffix == ".tsv" else text)
    return path


def classes(numbers: Iterable[int] = range(N)) -> list[tuple[str, str, str]]:
    """Two classes, every third protein tested, every seventh kept for validation."""
    splits = {n: "test" if n % 3 == 0 else "validation" if n % 7 == 0 else "train" for n in numbers}
    return [(id_of(n), "ab"[n % 2], split) for n, split in splits.items()]


def add_proteins(location: Location, sequences: Sequence[tuple[str, str]], source: str) -> None:
    """Record further proteins, (id, letters) each, as one source."""
    rows = build.proteins(range(len(sequences)), source).to_pylist()
    for row, (id, letters) in zip(rows, sequences, strict=True):
        row |= {"id": id, "sequence": letters, "length": len(letters), "key": build_key(letters)}
    build.ingest(location, pa.Table.from_pylist(rows, build.PROTEINS_SCHEMA), source, source)


def build_key(letters: str) -> bytes:

    return hashlib.sha256(letters.encode()).digest()[:16]
