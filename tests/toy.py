"""An encoder without a model: it loads at once, imports no torch, and a test can compute what it gives.

Tests that are about the pipeline (what is stored, counted, committed, resumed, re-embedded) use it in place of a
checkpoint's encoder, through the pipeline's own seam `make_spec`. Windows, chunks, truncation and rejects follow the
package's own layout of the recipe; the numbers depend on the letters, their positions, the layers and the
checkpoint's files, and on nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.collect import Embedded, Rejected, Stats
from protea_ray.encoder.layout import Layout, layout
from protea_ray.pipeline.worker import EncoderSpec

BUDGET = 1024


@functools.cache
def _table(seed: str, width: int) -> np.ndarray:
    return np.random.default_rng(int(seed[:8], 16)).normal(size=(26, width))


def residues(sequence: str, width: int, seed: str = "0") -> np.ndarray:
    """(length, width) float32: a fixed random row for each letter, scaled by its position in the protein."""
    letters = np.frombuffer(sequence.encode(), np.uint8) - ord("A")
    turn = 1.0 + np.cos(np.arange(len(letters)) / 7.0)
    return (_table(seed, width)[letters] * turn[:, None]).astype(np.float32)


def pool(rows: np.ndarray, pooling: str) -> np.ndarray:
    """One vector of a span's rows; unit length."""
    vectors = {
        "mean": lambda: rows.mean(0),
        "max": lambda: rows.max(0),
        "cls": lambda: rows[0],
        "std": lambda: rows.std(0),
        "mean_max": lambda: np.concatenate([rows.mean(0), rows.max(0)]),
    }
    vector = vectors[pooling]()
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def fingerprint(files: dict[str, str]) -> str:
    """Hex digits that two checkpoints share only when their files are the same."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


@dataclass
class ToyEncoder:
    """Rows of `residues`, pooled; a recipe's width is that of a checkpoint whose states are `hidden` wide."""

    recipes: tuple[EmbeddingConfig, ...]
    hidden: int
    seed: str = "0"
    seconds_per_residue: float = 0.0
    token_budget: int = BUDGET
    peak_gpu_memory: int = 0
    stats: Stats = field(default_factory=Stats)
    attention: Any = field(default_factory=lambda: SimpleNamespace(name="toy", why="a test's encoder"))
    products: Any = field(default_factory=lambda: SimpleNamespace(name="nobody", why="a test's encoder"))
    layers: Any = field(default_factory=lambda: SimpleNamespace(name="no layers", why="a test's encoder"))

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded | Rejected]:
        """One result for each sequence and recipe, as the real encoder gives them."""
        for index, sequence in enumerate(sequences):
            time.sleep(len(sequence) * self.seconds_per_residue)
            for number, recipe in enumerate(self.recipes):
                laid = layout(len(sequence), recipe)
                if laid is None:
                    yield Rejected(index, number, "too_long", f"{len(sequence)} residues")
                else:
                    self.stats.windows += len(laid.windows)
                    self.stats.forward_passes += len(laid.windows)  # each window a pack of its own
                    self.stats.tokens += sum(end - start for start, end in laid.windows)
                    yield self._embedded(index, number, sequence, laid)

    def _embedded(self, index: int, number: int, sequence: str, laid: Layout) -> Embedded:
        recipe = self.recipes[number]
        dtype = np.dtype(recipe.store_dtype)
        whole = residues(sequence, recipe.width(self.hidden), self.seed)
        rows = [whole[start:end] for start, end in laid.spans]
        pooled = {name: np.stack([pool(r, name) for r in rows]).astype(dtype) for name in recipe.pooled}
        matrices = tuple(r.astype(dtype) for r in rows) if recipe.keeps_residues else None
        spans = np.array(laid.spans, np.int32).reshape(-1, 2)
        cut = laid.seen < len(sequence)
        return Embedded(index, number, spans, pooled, matrices, laid.seen, len(laid.windows), cut)


@dataclass(frozen=True)
class ToySpec(EncoderSpec):
    """What a run loads in place of a checkpoint's encoder."""

    def load(self, recipes: Sequence[EmbeddingConfig]) -> Any:
        """At once, in any process."""
        hidden = json.loads((self.directory / "config.json").read_text())["hidden_size"]
        return ToyEncoder(tuple(recipes), hidden, fingerprint(self.files))
