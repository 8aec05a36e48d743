"""How often the nearest neighbour of a protein is one of its own group: the plainest question to vectors, no training.

It is leave-one-out classification by one neighbour (Cover and Hart 1967, doi:10.1109/TIT.1967.1053964).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 1024  # rows compared at a time: memory is this times the number of vectors


def same_group_share(vectors: np.ndarray, groups: Sequence[str]) -> float:
    """Share of `vectors` (n, width) whose nearest other one by cosine has the same entry in `groups` (n).

    Vectors that are equally near count as one answer each, in equal parts. Raises ValueError for fewer than two.
    """
    if len(vectors) < 2:
        raise ValueError(f"{len(vectors)} vectors have no neighbours; give at least 2")
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    wide = vectors.astype(np.float64)
    unit = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    hits = 0.0
    for first in range(0, len(unit), BLOCK):
        similarity = unit[first : first + BLOCK] @ unit.T
        own = np.arange(len(similarity))
        similarity[own, first + own] = -np.inf
        best = similarity >= similarity.max(axis=1, keepdims=True) - 1e-12
        same = group[first : first + BLOCK, None] == group[None]
        hits += float(((best & same).sum(axis=1) / best.sum(axis=1)).sum())
    return hits / len(unit)
