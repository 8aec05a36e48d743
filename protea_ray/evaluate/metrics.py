"""Metrics of a probe's predictions on a labelled task: scikit-learn's and scipy's, and Fmax as CAFA defines it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_THRESHOLDS = np.linspace(0.01, 1.0, 100)  # CAFA's steps
HEADLINE = {"classification": "macro_f1", "multilabel": "fmax", "regression": "spearman"}


def classification(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """accuracy, macro_f1 and mcc (Matthews, of all classes together) of `scores` (n, classes) against `truth` (n,).

    Macro-F1 is over the classes that occur in `truth`.
    """
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    best = scores.argmax(axis=1)
    return {
        "accuracy": float(accuracy_score(truth, best)),
        "macro_f1": float(f1_score(truth, best, average="macro", labels=np.unique(truth))),
        "mcc": float(matthews_corrcoef(truth, best)),
    }


def regression(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """spearman, r2 and mse of `scores` (n,) against `truth` (n,); spearman is 0 where one of them is constant."""
    from scipy.stats import spearmanr
    from sklearn.metrics import mean_squared_error, r2_score

    constant = len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(scores) == 0
    rank = 0.0 if constant else float(np.asarray(spearmanr(truth, scores))[0])
    return {"spearman": rank, "r2": float(r2_score(truth, scores)), "mse": float(mean_squared_error(truth, scores))}


@dataclass(frozen=True)
class Fmax:
    """Best F over all thresholds, where it is reached, and precision and recall there."""

    fmax: float
    threshold: float
    precision: float
    recall: float


def fmax(truth: np.ndarray, scores: np.ndarray) -> Fmax:
    """Protein-centric Fmax of `scores` (n, terms) in [0, 1] against `truth` (n, terms) of booleans.

    At each threshold precision is averaged over proteins with at least one predicted term and recall over all
    proteins (Radivojac et al. 2013, doi:10.1038/nmeth.2340). Every protein must have at least one true term.
    """
    of_protein = truth.sum(axis=1)
    best = Fmax(0.0, 1.0, 0.0, 0.0)
    for threshold in _THRESHOLDS:
        predicted = scores >= threshold
        count, hit = predicted.sum(axis=1), (predicted & truth).sum(axis=1)
        some = count > 0
        if not some.any():
            continue
        precision, recall = float((hit[some] / count[some]).mean()), float((hit / of_protein).mean())
        if precision + recall and (f := 2 * precision * recall / (precision + recall)) > best.fmax:
            best = Fmax(f, float(threshold), precision, recall)
    return best


def multilabel(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """fmax with its threshold, precision and recall; scores in [0, 1], (n, terms)."""
    return vars(fmax(truth, scores)).copy()
