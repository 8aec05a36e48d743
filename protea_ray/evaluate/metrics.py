"""What a probe's scores on a task are worth: every metric of the task's kind, on every subset, with bootstrap draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from protea_ray.config.length_groups import LENGTHS
from protea_ray.evaluate.bootstrap import draws
from protea_ray.evaluate.confusion import Confusions
from protea_ray.evaluate.correlation import Numbers
from protea_ray.evaluate.measured import Measure
from protea_ray.evaluate.task import CLASSIFICATION, MULTILABEL, REGRESSION, RESIDUE, Task
from protea_ray.evaluate.term_evidence import term_evidence


class Evidence(Protocol):
    """What each tested protein adds to the metrics of a kind of task."""

    def at(self, rows: np.ndarray) -> Evidence: ...

    def counts(self) -> dict[str, int]: ...

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]: ...


def measure(task: Task, scores: np.ndarray, resamples: int, lengths: Sequence[int] = LENGTHS) -> list[Measure]:
    """Measure `scores` of the tested proteins, in the order of `task.tested`, on every subset that has a protein.

    `lengths` are the ends of the groups by length. `scores` are (tested, classes); (tested, terms) in [0, 1],
    consistent with the graph and 0 for a term that could not be learned in the protein's fold; (tested,) numbers; or,
    of residues, (tested, C, C) counts by true and predicted state. Raises ValueError for another number of rows, and
    for a score that is not finite.
    """
    if len(scores) != len(task.tested):
        raise ValueError(f"{task.name}: {len(scores):,} rows of scores for {len(task.tested):,} tested proteins")
    if not np.isfinite(scores).all():
        bad = np.flatnonzero(~np.isfinite(scores).reshape(len(scores), -1).all(axis=1))
        raise ValueError(f"{task.name}: the scores of {task.ids[task.tested[bad[0]]]!r} are not finite")
    evidence = _EVIDENCE[task.kind](task, scores)
    found: list[Measure] = []
    for subset, rows in task.subsets(lengths).items():
        if rows.any():
            found += _measures(subset, evidence.at(rows), task.digest, int(rows.sum()), resamples)
    return found


def _measures(subset: str, evidence: Evidence, digest: str, proteins: int, resamples: int) -> list[Measure]:
    values = evidence.values(np.ones((1, proteins)))
    blocks = [evidence.values(weights) for weights in draws(digest, subset, proteins, resamples)]
    found: list[Measure] = []
    for metric, count in evidence.counts().items():
        value = float(values[metric][0])
        resampled = np.concatenate([np.zeros(0), *(b[metric] for b in blocks)]).astype(np.float32)
        found.append(Measure(subset, metric, count, None if np.isnan(value) else value, resampled))
    return found


def _of_classes(task: Task, scores: np.ndarray) -> Evidence:
    return Confusions.of_classes(task.targets[task.tested], scores)


def _of_numbers(task: Task, scores: np.ndarray) -> Evidence:
    return Numbers(task.targets[task.tested].astype(np.float64), scores.astype(np.float64))


def _of_residues(task: Task, scores: np.ndarray) -> Evidence:
    return Confusions.of_residues(scores)


_EVIDENCE: dict[str, Callable[[Task, np.ndarray], Evidence]] = {
    CLASSIFICATION: _of_classes,
    MULTILABEL: term_evidence,
    REGRESSION: _of_numbers,
    RESIDUE: _of_residues,
}
