"""Fmax, Smin and micro F1max by their definitions: threshold by threshold, protein by protein, with sets of terms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

Protein = tuple[set[str], Mapping[str, float], Mapping[str, float]]  # true terms, scores, and what each term weighs


def predicted(proteins: Sequence[Protein]) -> Iterator[list[tuple[set[str], set[str], Mapping[str, float]]]]:
    """Yield (true, predicted, weights) of each protein at each threshold; terms that weigh nothing are left out."""
    for threshold in np.linspace(0.01, 1.0, 100).tolist():
        yield [
            (
                {t for t in true if weights[t] > 0},
                {t for t, score in scores.items() if score >= threshold and weights[t] > 0},
                weights,
            )
            for true, scores, weights in proteins
        ]


def fmax(proteins: Sequence[Protein]) -> float:
    """Precision over proteins with a prediction, recall over all; nan without proteins."""
    if not proteins:
        return math.nan
    best = 0.0
    for of_threshold in predicted(proteins):
        precisions, recalls = [], []
        for true, said, weights in of_threshold:
            hits, wanted, given = (sum(weights[t] for t in some) for some in (true & said, true, said))
            precisions += [hits / given] if given else []
            recalls.append(hits / wanted if wanted else 0.0)
        p, r = sum(precisions) / max(len(precisions), 1), sum(recalls) / len(recalls)
        best = max(best, 2 * p * r / (p + r) if p + r else 0.0)
    return best


def smin(proteins: Sequence[Protein]) -> float:
    """Least distance of mean remaining uncertainty and misinformation, where anything is predicted at all."""
    best = math.inf
    for threshold, of_threshold in zip(np.linspace(0.01, 1.0, 100).tolist(), predicted(proteins), strict=True):
        if any(score >= threshold for _, scores, _ in proteins for score in scores.values()):
            remaining = sum(weights[t] for true, said, weights in of_threshold for t in true - said)
            wrong = sum(weights[t] for true, said, weights in of_threshold for t in said - true)
            best = min(best, math.hypot(remaining, wrong) / len(proteins))
    return best if math.isfinite(best) else math.nan


def f1max_micro(proteins: Sequence[Protein]) -> float:
    """Best F1 of all pairs of protein and term together."""
    best = 0.0
    for of_threshold in predicted(proteins):
        hits = sum(len(true & said) for true, said, _ in of_threshold)
        pairs = sum(len(true) + len(said) for true, said, _ in of_threshold)
        best = max(best, 2 * hits / pairs if pairs else 0.0)
    return best
