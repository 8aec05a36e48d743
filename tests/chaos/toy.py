"""An encoder without a model, for rows that are about the driver and the store: starts at once, needs no torch.

It takes the place of `protea_ray.encoder.encoder` in drivers and workers (see faults.py). A vector depends on every
letter and its position, and on nothing else; `SECONDS_PER_RESIDUE` of sleep stand for the work, so that kills find
units in flight.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.collect import Embedded, Rejected, Stats

__all__ = ["Embedded", "Encoder", "Rejected", "Stats", "install", "vector"]

SECONDS_PER_RESIDUE = float(os.environ.get("CHAOS_SECONDS_PER_RESIDUE", 4e-5))


@functools.cache
def _table(width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(26, width))


def vector(sequence: str, width: int) -> np.ndarray:
    """Unit vector (width,) float32: sums of a fixed random table by letter, turned by position."""
    table = _table(width)
    letters = np.frombuffer(sequence.encode(), np.uint8) - ord("A")
    summed = np.zeros(width)
    for start in range(0, len(letters), 1 << 16):  # 2,000,000 residues at once would be half a gigabyte
        part = letters[start : start + (1 << 16)]
        turn = 1.0 + np.cos(np.arange(start, start + len(part)) / 7.0)
        summed += (table[part] * turn[:, None]).sum(axis=0)
    return (summed / np.linalg.norm(summed)).astype(np.float32)


@dataclass
class Encoder:
    """Only the default recipe: the mean of a protein."""

    recipes: tuple[EmbeddingConfig, ...]
    token_budget: int = 1024
    peak_gpu_memory: int = 0
    stats: Stats = field(default_factory=Stats)
    attention: Any = field(default_factory=lambda: SimpleNamespace(name="toy", why="the chaos suite's encoder"))
    products: Any = field(default_factory=lambda: SimpleNamespace(name="nobody", why="the chaos suite's encoder"))
    layers: Any = field(default_factory=lambda: SimpleNamespace(name="no layers", why="the chaos suite's encoder"))

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded | Rejected]:
        for index, sequence in enumerate(sequences):
            time.sleep(len(sequence) * SECONDS_PER_RESIDUE)
            pooled = {"mean": vector(sequence, 32)[None]}
            span = np.array([[0, len(sequence)]], np.int32)
            for recipe in range(len(self.recipes)):
                yield Embedded(index, recipe, span, pooled, None, len(sequence), 1, False)


def install(worker: ModuleType) -> None:
    """Let actors load this encoder; EncoderSpec.load would import torch to set its threads."""

    def load(self: Any, recipes: Sequence[EmbeddingConfig]) -> Encoder:
        return Encoder(tuple(recipes))

    worker.EncoderSpec.load = load  # type: ignore[attr-defined]
