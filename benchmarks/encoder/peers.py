"""Peers that a user has installed, on the same checkpoint: imported where they are there, never shipped.

FastPLMs (Synthyra) embeds data sets by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protea_ray.acceptance.ways import Embed
from protea_ray.models.checkpoint import read_config


def installed(directory: Path, device: str, dtype: str, budget: int) -> Iterator[tuple[str, Callable[[], Embed]]]:
    """(name, what loads it) of every peer that is installed and can run this model; `budget` tokens of a batch."""
    if read_config(directory).get("model_type") != "esm":
        return
    if find_spec("fastplms"):
        yield "FastPLMs embed_dataset", _fastplms(directory, device, dtype, budget)


def _fastplms(directory: Path, device: str, dtype: str, budget: int) -> Callable[[], Embed]:
    """Synthyra/FastPLMs, from the user's own installation; its own length buckets, `budget` tokens a batch."""

    def load() -> Embed:
        from fastplms.models.esm2.modeling_fastesm import FastEsmModel  # type: ignore[import-not-found]
        from transformers import EsmTokenizer

        kind = getattr(torch, dtype)
        model = FastEsmModel.from_pretrained(directory, dtype=kind, attn_implementation="sdpa").eval().to(device)
        tokenizer = EsmTokenizer.from_pretrained(directory)
        options: dict[str, Any] = {"batch_size": 32, "batch_window_size": 4096, "max_length": 100_000}
        options |= {"tokenizer": tokenizer, "pooling": ("mean",)}

        def run(sequences: Sequence[str]) -> dict[str, np.ndarray]:
            most = max(budget, max(map(len, sequences)) + 2)  # it refuses what is longer
            found = model.embed_dataset(list(sequences), max_tokens_per_batch=most, **options)
            return {record.sequence: record.tensor.float().numpy() for record in found}

        return run

    return load
