"""How a model may be told the order of tokens, each way as a short function: for docs/positions.md and its tests.

What the encoder runs is the checkpoint's own code; `rope.py` stretches its rotary positions. Here the same formulas
stand by themselves, in float64, to compute with: angles that training never showed, distances that share a bucket.
"""

from __future__ import annotations

import numpy as np

BASE = 10_000.0  # of sinusoidal and of rotary positions, in the first papers and in all ESM models


def frequencies(width: int, base: float = BASE) -> np.ndarray:
    """Radians a token of each pair, base^(-2k / width), (width / 2,), fastest first."""
    return base ** (-np.arange(0, width, 2) / width)


def sinusoidal_table(length: int, width: int, base: float = BASE) -> np.ndarray:
    """Rows added to the embeddings, (length, width): sines, then cosines of each pair (Vaswani et al. 2017)."""
    angles = np.arange(length)[:, None] * frequencies(width, base)
    return np.concatenate([np.sin(angles), np.cos(angles)], 1)


def rotated(rows: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Queries or keys (L, d), each row turned by its position times `turns` (d / 2,) radians (Su et al. 2021).

    Pair k is numbers k and k + d / 2 of a row, as in ESM-2 and ESM-C.
    """
    angles = np.arange(len(rows))[:, None] * turns
    first, second = np.split(rows, 2, 1)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], 1)


def t5_buckets(distances: np.ndarray, buckets: int = 32, reach: int = 128) -> np.ndarray:
    """The bucket of each key - query distance (Raffel et al. 2020): one learned number a head and bucket.

    Half of the buckets are for each side; of these half are single distances, and the rest grow by a constant factor
    up to `reach`, from where on all distances share the last one.
    """
    side, near = buckets // 2, buckets // 4
    apart = np.abs(distances)
    grown = near + (np.log(np.maximum(apart, near) / near) / np.log(reach / near) * (side - near)).astype(int)
    return np.where(distances > 0, side, 0) + np.where(apart < near, apart, np.minimum(grown, side - 1))


def alibi_slopes(heads: int) -> np.ndarray:
    """What each head subtracts from a score for each token of distance, (heads,) (ALiBi, Press et al. 2022).

    Powers of 2^(-8 / n) for n heads, n a power of two; else those of the next lower n, then every other one of 2n.
    """
    lower = 2 ** int(np.log2(heads))
    slopes = 2.0 ** (-8 * np.arange(1, lower + 1) / lower)
    between = 2.0 ** (-8 * np.arange(1, 2 * lower + 1, 2) / (2 * lower))
    return np.concatenate([slopes, between[: heads - lower]])


def unseen(turns: np.ndarray, length: int) -> np.ndarray:
    """Which pairs turn less than half a turn within `length` tokens: at larger distances all they say is new."""
    return turns * length < np.pi
