"""Protein-centric Fmax, Smin and micro F1max: what is predicted at each of CAFA's thresholds, and how good it is.

Fmax: Radivojac et al. 2013 (doi:10.1038/nmeth.2340). Smin: Clark and Radivojac 2013
(doi:10.1093/bioinformatics/btt228). A term is predicted where its score is at least the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protea_ray.evaluate.bootstrap import weighted_sums

THRESHOLDS = np.linspace(0.01, 1.0, 100)  # to the bit those of CAFA's evaluator, which ends at 0.99


@dataclass(frozen=True)
class ThresholdCounts:
    """Of each protein, `predicted` and `hits` (proteins, thresholds) and `true` (proteins,): terms, or their bits.

    `counts` (proteins,) bool: those over which precision and recall are averaged.
    """

    predicted: np.ndarray
    hits: np.ndarray
    true: np.ndarray
    counts: np.ndarray

    @classmethod
    def of_scores(cls, truth: np.ndarray, scores: np.ndarray, bits: np.ndarray | None = None) -> ThresholdCounts:
        """From `truth` (proteins, terms) bool and `scores` of the same shape; `bits`, of the same shape, weighs them.

        Scores are counted by the threshold that they reach, once, and the counts summed from above: 10 million scores
        take less than a second where comparing them with each threshold takes a minute.
        """
        row, term = np.nonzero(scores >= THRESHOLDS[0])
        reached = np.searchsorted(THRESHOLDS, scores[row, term], side="right") - 1
        weight = None if bits is None else bits[row, term]
        hit = truth[row, term]
        place, shape = row * len(THRESHOLDS) + reached, (len(scores), len(THRESHOLDS))
        predicted = _from_above(place, weight, shape)
        hits = _from_above(place[hit], None if weight is None else weight[hit], shape)
        true = truth.sum(axis=1).astype(np.float64) if bits is None else (truth * bits).sum(axis=1)
        return cls(predicted, hits, true, truth.max(axis=1, initial=False))

    @classmethod
    def joined(cls, parts: list[ThresholdCounts]) -> ThresholdCounts:
        """Those of several blocks of proteins, one after another."""
        return cls(
            np.concatenate([p.predicted for p in parts]),
            np.concatenate([p.hits for p in parts]),
            np.concatenate([p.true for p in parts]),
            np.concatenate([p.counts for p in parts]),
        )

    def __add__(self, other: ThresholdCounts) -> ThresholdCounts:
        """With the terms of `other`, which are of the same proteins."""
        return ThresholdCounts(
            self.predicted + other.predicted,
            self.hits + other.hits,
            self.true + other.true,
            self.counts | other.counts,
        )

    def at(self, rows: np.ndarray) -> ThresholdCounts:
        """That of some proteins."""
        return ThresholdCounts(self.predicted[rows], self.hits[rows], self.true[rows], self.counts[rows])


def _from_above(place: np.ndarray, weight: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    reached = np.bincount(place, weight, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    return np.cumsum(reached[:, ::-1], axis=1)[:, ::-1]


def fmax(counted: ThresholdCounts, weights: np.ndarray) -> np.ndarray:
    """(draws,) best F over the thresholds, for `weights` (draws, proteins); nan where no protein of a draw counts.

    Precision is the mean over proteins with a prediction at the threshold, recall over all. Counts of bits give the
    weighted Fmax (Jiang et al. 2016, doi:10.1186/s13059-016-1037-6).
    """
    by_threshold, size = _f_by_threshold(counted, weights)
    return np.where(size > 0, by_threshold.max(axis=1), np.nan)


def _f_by_threshold(counted: ThresholdCounts, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(draws, thresholds) F, and (draws,) how many proteins count."""
    counting, counted = weights[:, counted.counts], counted.at(counted.counts)
    covered = weighted_sums(counting, (counted.predicted > 0).astype(np.float64))
    precision = _ratio(weighted_sums(counting, _ratio(counted.hits, counted.predicted)), covered)
    size = counting.sum(axis=1)
    recall = _ratio(weighted_sums(counting, _ratio(counted.hits, counted.true[:, None])), size[:, None])
    return _ratio(2 * precision * recall, precision + recall), size


def own_f1(counted: ThresholdCounts) -> np.ndarray:
    """(proteins,) F1 of each protein's own terms at the threshold of Fmax; nan for a protein that does not count.

    Of several thresholds that give Fmax it is the lowest.
    """
    by_threshold, _ = _f_by_threshold(counted, np.ones((1, len(counted.true))))
    best = by_threshold[0].argmax()
    f1 = _ratio(2 * counted.hits[:, best], counted.predicted[:, best] + counted.true)
    return np.where(counted.counts, f1, np.nan)


def smin(weighed: ThresholdCounts, plain: ThresholdCounts, weights: np.ndarray) -> np.ndarray:
    """(draws,) least distance sqrt(ru2 + mi2), in bits, for `weights` (draws, proteins).

    ru, remaining uncertainty: bits of true terms that are not predicted, mean over proteins; mi, misinformation: those
    of predicted terms that are not true. As in CAFA's evaluator thresholds at which nothing is predicted are left out,
    by the `plain` counts; nan where that leaves none, or no protein counts.
    """
    counting, counted, plain = weights[:, weighed.counts], weighed.at(weighed.counts), plain.at(weighed.counts)
    size = counting.sum(axis=1, keepdims=True)
    remaining = _ratio(weighted_sums(counting, counted.true[:, None] - counted.hits), size)
    wrong = _ratio(weighted_sums(counting, counted.predicted - counted.hits), size)
    covered = weighted_sums(counting, (plain.predicted > 0).astype(np.float64)) > 0
    least = np.where(covered, np.sqrt(remaining**2 + wrong**2), np.inf).min(axis=1)
    return np.where(np.isfinite(least), least, np.nan)


def f1max_micro(counted: ThresholdCounts, weights: np.ndarray) -> np.ndarray:
    """(draws,) best F1 over the thresholds of all pairs of protein and term together, for `weights` (draws, proteins).

    Every protein is in it, and a common term counts more than a rare one: another number than Fmax. nan where a draw
    has no true term.
    """
    hits, predicted = weighted_sums(weights, counted.hits), weighted_sums(weights, counted.predicted)
    true = weighted_sums(weights, counted.true)[:, None]
    return np.where(true[:, 0] > 0, _ratio(2 * hits, predicted + true).max(axis=1), np.nan)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, 0 where below is 0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
