"""Spearman's rank correlation, R2 and the mean squared error of predicted numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protea_ray.evaluate.bootstrap import weighted_sums


@dataclass(frozen=True)
class Numbers:
    """True and predicted numbers, each (proteins,) float64."""

    truth: np.ndarray
    predicted: np.ndarray

    def at(self, rows: np.ndarray) -> Numbers:
        """Those of some proteins."""
        return Numbers(self.truth[rows], self.predicted[rows])

    def counts(self) -> dict[str, int]:
        """Proteins that count, by metric: all."""
        return dict.fromkeys(("spearman", "r2", "mse"), len(self.truth))

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """(draws,) by metric, for `weights` (draws, proteins); nan where a metric is not defined.

        spearman is not defined where the truth or the prediction of a draw is constant, r2 where the truth is.
        """
        size = weights.sum(axis=1)
        centred = self.truth - self.truth.mean()  # sums of squares lose less to rounding
        errors = weighted_sums(weights, (self.truth - self.predicted) ** 2)
        around = weighted_sums(weights, centred**2) - weighted_sums(weights, centred) ** 2 / size
        ranks, others = _Ranks(self.truth), _Ranks(self.predicted)
        constant = ranks.constant(weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            r2 = np.where(constant, np.nan, 1 - errors / around)
        return {"spearman": _spearman(weights, ranks, others), "r2": r2, "mse": errors / size}


class _Ranks:
    """Average ranks of `values` (proteins,) in any draw of them: those of equal values are shared."""

    def __init__(self, values: np.ndarray) -> None:
        different, self._group = np.unique(values, return_inverse=True)
        self._order = np.argsort(self._group, kind="stable")
        self._starts = np.searchsorted(self._group[self._order], np.arange(len(different)))

    def of(self, weights: np.ndarray) -> np.ndarray:
        """(draws, proteins) ranks from 1 in each draw of `weights` (draws, proteins)."""
        sizes = self._sizes(weights)
        return (np.cumsum(sizes, axis=1) - (sizes - 1) / 2)[:, self._group]

    def constant(self, weights: np.ndarray) -> np.ndarray:
        """(draws,) whether a draw holds one value alone."""
        return (self._sizes(weights) > 0).sum(axis=1) < 2

    def _sizes(self, weights: np.ndarray) -> np.ndarray:
        return np.add.reduceat(weights[:, self._order], self._starts, axis=1)


def _spearman(weights: np.ndarray, ranks: _Ranks, others: _Ranks) -> np.ndarray:
    """Pearson's correlation of the ranks: multiples of a half, so sums are exact, whatever their order."""
    middle = (weights.sum(axis=1, keepdims=True) + 1) / 2
    first, second = ranks.of(weights) - middle, others.of(weights) - middle
    together = (weights * first * second).sum(axis=1)
    below = np.sqrt((weights * first**2).sum(axis=1) * (weights * second**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(ranks.constant(weights) | others.constant(weights), np.nan, together / below)
