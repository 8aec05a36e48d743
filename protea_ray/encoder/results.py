"""What the encoder returns: for every protein and recipe exactly one of `Embedded` and `Refused`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Embedded:
    """One protein under one recipe.

    `index` and `recipe` are positions in what was given. `spans` is (n, 2) int32, residues [start, end);
    `pooled` holds (n, width) in `store_dtype` by pooling name (cls: the same vector in each row); `residues`
    one (end - start, width) matrix for each span when the recipe pools `none`, else None; `logits` likewise one
    (end - start, vocabulary) matrix for each span when the recipe's outputs have them. `truncated` says that
    residues past `n_residues_seen` never went through the model.
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
class Refused:
    """A protein that has no embedding under one recipe; `reason` is a word of `protea_ray.sequences.record.Reason`."""

    index: int
    recipe: int
    reason: str
    detail: str


@dataclass
class Stats:
    """What an encoder has done so far: packs run, windows and tokens in them, packs that ran out of memory."""

    forward_passes: int = 0
    windows: int = 0
    tokens: int = 0
    out_of_memory: int = 0
