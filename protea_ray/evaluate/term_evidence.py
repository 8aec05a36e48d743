"""What each tested protein adds to the metrics of a multilabel task: terms, true and predicted, at every threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from protea_ray.evaluate.ontology import information_accretion, root_truth, under_roots
from protea_ray.evaluate.task import Task
from protea_ray.evaluate.thresholds import ThresholdCounts, f1max_micro, fmax, smin

BLOCK = 256  # proteins whose scores are looked at together: 5,000 terms of them are 1.3 million


@dataclass(frozen=True)
class TermEvidence:
    """Counts of four kinds, of which those with a root and weighed by information accretion need a graph.

    The truth of `learnable` is the terms that could be learned in the protein's fold, that of `whole` and `weighed`
    every term, as in papers: what could not be predicted is missed. `rooted` is `learnable` with the roots.
    """

    learnable: ThresholdCounts
    whole: ThresholdCounts
    rooted: ThresholdCounts | None = None
    weighed: ThresholdCounts | None = None

    def at(self, rows: np.ndarray) -> TermEvidence:
        """That of some proteins."""
        rooted = None if self.rooted is None else self.rooted.at(rows)
        weighed = None if self.weighed is None else self.weighed.at(rows)
        return TermEvidence(self.learnable.at(rows), self.whole.at(rows), rooted, weighed)

    def counts(self) -> dict[str, int]:
        """Proteins that count, by metric: those with a term of its truth, and of f1max_micro all."""
        found = {"fmax": self.learnable, "fmax_with_root": self.rooted, "fmax_all_terms": self.whole,
                 "fmax_weighted": self.weighed, "smin": self.weighed}  # fmt: skip
        counts = {metric: int(of_kind.counts.sum()) for metric, of_kind in found.items() if of_kind is not None}
        return {**counts, "f1max_micro": len(self.learnable.true)}

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """(draws,) by metric, for `weights` (draws, proteins); nan where a metric is not defined."""
        found = {"fmax": fmax(self.learnable, weights), "fmax_all_terms": fmax(self.whole, weights)}
        if self.rooted is not None:
            found["fmax_with_root"] = fmax(self.rooted, weights)
        if self.weighed is not None:
            found["fmax_weighted"] = fmax(self.weighed, weights)
            found["smin"] = smin(self.weighed, self.whole, weights)
        return {**found, "f1max_micro": f1max_micro(self.learnable, weights)}


def term_evidence(task: Task, scores: np.ndarray) -> TermEvidence:
    """Count predicted and true terms of `scores` (tested, terms) in [0, 1], at every threshold.

    Information accretion is that of the annotations which train the fold. Raises ValueError for a score outside [0, 1],
    and for a predicted term that could not be learned in the protein's fold.
    """
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        raise ValueError(f"{task.name}: scores are {scores.min()} to {scores.max()}; they must lie in [0, 1]")
    terms = _Terms(task)
    blocks = [terms.evidence(first, scores[first : first + BLOCK]) for first in range(0, len(scores), BLOCK)]
    return TermEvidence(
        ThresholdCounts.joined([b.learnable for b in blocks]),
        ThresholdCounts.joined([b.whole for b in blocks]),
        ThresholdCounts.joined([b.rooted for b in blocks if b.rooted]) if task.parents else None,
        ThresholdCounts.joined([b.weighed for b in blocks if b.weighed]) if task.parents else None,
    )


class _Terms:
    """What is known of a task's terms before there are scores: what each fold can learn, and what a term is worth."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._fold = np.searchsorted(task.folds, task.fold[task.tested])
        self._learnable = np.stack([task.learnable(fold) for fold in task.folds])
        self._under = under_roots(task.names, task.parents)
        training = [task.targets[task.fold != fold] for fold in (task.folds if task.parents else ())]
        self._bits = [information_accretion(targets, task.names, task.parents) for targets in training]

    def evidence(self, first: int, scores: np.ndarray) -> TermEvidence:
        """That of a block of tested proteins from number `first` on."""
        rows = slice(first, first + len(scores))
        truth, learnable = self._task.targets[self._task.tested[rows]], self._learnable[self._fold[rows]]
        self._check(first, scores, learnable)
        known = ThresholdCounts.of_scores(truth & learnable, scores)
        whole = replace(known, true=truth.sum(axis=1).astype(np.float64), counts=truth.any(axis=1))
        if not self._task.parents:
            return TermEvidence(known, whole)
        root_scores = np.stack([scores[:, below].max(axis=1) for below in self._under.values()], axis=1)
        rooted = known + ThresholdCounts.of_scores(root_truth(truth, self._under), root_scores)
        bits = np.stack(self._bits)[self._fold[rows]]
        return TermEvidence(known, whole, rooted, ThresholdCounts.of_scores(truth, scores, bits))

    def _check(self, first: int, scores: np.ndarray, learnable: np.ndarray) -> None:
        wrong = (scores > 0) & ~learnable
        if wrong.any():
            row, term = np.argwhere(wrong)[0]
            who, what = self._task.ids[self._task.tested[first + row]], self._task.names[term]
            raise ValueError(f"{self._task.name}: {what} is predicted for {who!r}, whose fold cannot learn it")
