"""Stores and comparisons for the data sets that training jobs read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from protea_ray.query.reader import Store, open_store
from tests.store import build

SPACE = "esm2-00000001"


def number(id: str) -> int:
    """The protein that an id of tests.store.build stands for."""
    return int(id[1:])


def make(root: Path, proteins: int, *, per_unit: int = 40, with_residues: bool = False) -> Store:
    return open_store(build.store(root / "s", range(proteins), per_unit=per_unit, with_residues=with_residues).uri)


def grow(store: Store, first: int, count: int) -> None:
    """Append proteins and their vectors, as the next run of a growing store would."""
    numbers = range(first, first + count)
    build.ingest(store.location, build.proteins(numbers, f"more{first}"), f"more{first}", f"d{first}")
    build.fill(store.location, SPACE, numbers, f"r{first}.0", build.schema())


def labels(proteins: Iterable[int]) -> pa.Table:
    """An integer label for each protein: its number modulo 7."""
    numbers = list(proteins)
    return pa.table({"id": [f"P{n:05d}" for n in numbers], "label": [n % 7 for n in numbers]})


def ids(batches: Iterable[dict[str, Any]]) -> list[str]:
    return [id for batch in batches for id in batch["id"]]


def same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> bool:
    """Whether two lists of batches are equal in every value."""
    return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))


def _same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)


def _equal(left: Any, right: Any) -> bool:
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


def vectors(batch: dict[str, Any]) -> np.ndarray:
    """What the vectors of a batch should be."""
    return np.array([build.vector(number(id)) for id in batch["id"]])
