"""What became of each tested protein under one probe: a number, by which a map of the proteins can be coloured.

The metrics of an evaluation are over many proteins. This is what each of them adds, in the unit of its kind of task.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protea_ray.evaluate.task import CLASSIFICATION, MULTILABEL, REGRESSION, RESIDUE, Task
from protea_ray.evaluate.term_evidence import term_evidence
from protea_ray.evaluate.thresholds import own_f1


def outcomes_of(task: Task, scores: np.ndarray) -> np.ndarray:
    """(tested,) float64 from the `scores` of one probe, as `measure` takes them; nan for a protein that counts nowhere.

    Of classes 1 where the highest score is that of the true class, else 0. Of terms the protein's own F1 at the
    threshold of Fmax; nan where none of its terms could be learned. Of numbers the absolute error, in their own unit.
    Of residues the share of those with a state that are right; nan where none has a state.
    """
    return _OUTCOMES[task.kind](task, scores)


def _of_classes(task: Task, scores: np.ndarray) -> np.ndarray:
    return (scores.argmax(axis=1) == task.targets[task.tested]).astype(np.float64)


def _of_terms(task: Task, scores: np.ndarray) -> np.ndarray:
    return own_f1(term_evidence(task, scores).learnable)


def _of_numbers(task: Task, scores: np.ndarray) -> np.ndarray:
    return np.abs(scores.astype(np.float64) - task.targets[task.tested])


def _of_residues(task: Task, scores: np.ndarray) -> np.ndarray:
    right, resolved = np.trace(scores, axis1=1, axis2=2), scores.sum(axis=(1, 2))
    return np.divide(right, resolved, out=np.full(len(scores), np.nan), where=resolved > 0)


_OUTCOMES: dict[str, Callable[[Task, np.ndarray], np.ndarray]] = {
    CLASSIFICATION: _of_classes,
    MULTILABEL: _of_terms,
    REGRESSION: _of_numbers,
    RESIDUE: _of_residues,
}
