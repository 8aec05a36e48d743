"""The result of one protein under one recipe, and the collector that builds it from the protein's windows.

The encoder returns exactly one `Embedded` or `Rejected` for every protein and recipe. Windows of a protein may finish
in any order. A `Collector` combines their pieces in float64 in the order of the protein, so the result does not depend
on the packs that the windows were in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.averaging import PositionAverage
from protea_ray.encoder.layout import Layout
from protea_ray.sequences.records import Reason

SMALLEST_NORM = 1e-12  # a vector shorter than this is divided by it instead


@dataclass(frozen=True)
class Embedded:
    """One protein under one recipe.

    `index` and `recipe` are the positions of the protein and of the recipe in what the encoder was given. `spans` is
    (n, 2) int32, residues [start, end). `pooled` holds (n, width) in `store_dtype` by pooling name; each row of cls is
    the same vector. `residues` has one (end - start, width) matrix for each span when the recipe pools `none`, else it
    is None. `logits` has one (end - start, vocabulary) matrix for each span when the recipe keeps logits, else it is
    None. `truncated`: residues past `n_residues_seen` did not go through the model.
    """

    index: int
    recipe: int
    spans: np.ndarray
    pooled: dict[str, np.ndarray]
    residues: tuple[np.ndarray, ...] | None
    n_residues_seen: int
    n_windows: int
    truncated: bool
    logits: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True)
class Rejected:
    """A protein that has no embedding under one recipe; `reason` is a word of `protea_ray.sequences.records.Reason`."""

    index: int
    recipe: int
    reason: str
    detail: str


@dataclass
class Stats:
    """Counts of an encoder since it was loaded: packs run, windows and tokens in them, packs that ran out of memory."""

    forward_passes: int = 0
    windows: int = 0
    tokens: int = 0
    out_of_memory: int = 0


@dataclass(frozen=True)
class PieceValues:
    """The values of one piece, all from one window. `count` is its number of residues.

    `total`, `peak` and `spread` are (width,) float32: see `pool.Sums`. `rows` (count, width) and `logits`
    (count, vocabulary) are in store_dtype, and `fits` says that all their numbers are finite in it; rows that will be
    averaged are float32. What the recipe does not need is None.
    """

    count: int
    fits: bool = True
    total: np.ndarray | None = None
    peak: np.ndarray | None = None
    spread: np.ndarray | None = None
    rows: np.ndarray | None = None
    logits: np.ndarray | None = None


class Collector:
    """Gathers the windows of one protein under one recipe; `result` is its result once the last window is in."""

    def __init__(self, index: int, number: int, recipe: EmbeddingConfig, layout: Layout, length: int) -> None:
        self.index, self.number, self.recipe, self.layout = index, number, recipe, layout
        self._length = length
        self._parts: list[PieceValues | None] = [None] * len(layout.pieces)
        self._windows_left = len(layout.windows)
        self._average = PositionAverage() if layout.is_averaged else None
        self._cls: dict[int, np.ndarray] = {}
        self._reject: Rejected | None = None

    def take(self, window: int, parts: dict[int, PieceValues], cls: np.ndarray | None) -> None:
        """Take in the finished window number `window`: its pieces by number, and its CLS (width,) if it gives one."""
        for number, part in parts.items():
            self._parts[number] = part
            if self._average is not None and part.rows is not None:
                self._average.add(number, part.rows)
                self._parts[number] = replace(part, rows=None)
        if cls is not None:
            self._cls[window] = cls
        self._windows_left -= 1

    def reject(self, reason: Reason, detail: str) -> None:
        """Take in one failed window: the protein becomes a reject, with the reason of the first that failed."""
        self._reject = self._reject or Rejected(self.index, self.number, reason, detail)
        self._windows_left -= 1

    def result(self) -> Embedded | Rejected | None:
        """The result of the protein, None while windows are missing."""
        if self._windows_left:
            return None
        return self._reject or self._finish()

    def _finish(self) -> Embedded | Rejected:
        dtype = np.dtype(self.recipe.store_dtype)
        with np.errstate(over="ignore"):  # an overflow of the cast is reported below
            pooled = {name: vectors.astype(dtype) for name, vectors in self._pool().items()}
        residues = self._matrices("rows") if self.recipe.keeps_residues else None
        logits = self._matrices("logits") if self.recipe.keeps_logits else None
        fits = all(part is None or part.fits for part in self._parts)
        if not (fits and all(np.isfinite(vectors).all() for vectors in pooled.values())):
            return Rejected(self.index, self.number, Reason.NON_FINITE, f"a number does not fit into {dtype}")
        spans = np.array(self.layout.spans, np.int32).reshape(-1, 2)
        seen, windows = self.layout.seen, len(self.layout.windows)
        cut = seen < self._length
        return Embedded(self.index, self.number, spans, pooled, residues, seen, windows, cut, logits)

    def _pool(self) -> dict[str, np.ndarray]:
        """Pooled vectors, (n, width) float64, unit length where the recipe says so."""
        wanted = self.recipe.pooled
        pooled: dict[str, np.ndarray] = {}
        if self.layout.cls:
            taken = np.stack([self._cls[window] for window in self.layout.cls]).astype(np.float64)
            pooled["cls"] = np.repeat(taken.mean(0, keepdims=True), len(self.layout.spans), 0)
        if set(wanted) - {"cls"}:
            pooled |= self._combine() if self._average is None else self._average.poolings()
        pooled = {name: pooled[name] for name in wanted}
        return {name: _unit(x) for name, x in pooled.items()} if self.recipe.normalize else pooled

    def _combine(self) -> dict[str, np.ndarray]:
        """Poolings over residues, (n, width) float64 by name: mean, and those whose sums the pieces have."""
        parts = [part for part in self._parts if part is not None]
        spans = [piece.span for piece in self.layout.pieces]  # sorted
        first = [i for i, span in enumerate(spans) if i == 0 or span != spans[i - 1]]
        count = np.array([part.count for part in parts], np.float64)[:, None]
        total = _stack(parts, "total")
        n = np.add.reduceat(count, first)
        mean = np.add.reduceat(total, first) / n
        pooled = {"mean": mean}
        if parts[0].peak is not None:
            pooled["max"] = np.maximum.reduceat(_stack(parts, "peak"), first)
            pooled["mean_max"] = np.concatenate([mean, pooled["max"]], 1)
        if parts[0].spread is not None:
            away = (total / count - mean[spans]) ** 2 * count
            pooled["std"] = np.sqrt(np.add.reduceat(_stack(parts, "spread") + away, first) / n)
        return pooled

    def _matrices(self, name: str) -> tuple[np.ndarray, ...]:
        """The matrix `name` (rows or logits) of each span, joined from its pieces."""
        matrices: list[list[np.ndarray]] = [[] for _ in self.layout.spans]
        for piece, part in zip(self.layout.pieces, self._parts, strict=True):
            matrices[piece.span].append(getattr(part, name))
        return tuple(rows[0] if len(rows) == 1 else np.concatenate(rows) for rows in matrices)


def _stack(parts: list[PieceValues], name: str) -> np.ndarray:
    return np.stack([getattr(part, name) for part in parts]).astype(np.float64)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST_NORM)
