"""Accuracy, macro-F1 and Matthews' correlation coefficient, of classes of proteins or of states of residues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protea_ray.evaluate.bootstrap import weighted_sums


@dataclass(frozen=True)
class Confusions:
    """Each (proteins, classes): how many hits, true and predicted cases a protein adds to each class.

    A protein of a classification task adds one case, a chain one for every residue that has a state.
    """

    hits: np.ndarray
    true: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of_classes(cls, truth: np.ndarray, scores: np.ndarray) -> Confusions:
        """From numbers of classes (proteins,) and scores (proteins, classes), whose highest is the prediction."""
        classes = np.eye(scores.shape[1])
        true, predicted = classes[truth], classes[scores.argmax(axis=1)]
        return cls(true * predicted, true, predicted)

    @classmethod
    def of_residues(cls, counts: np.ndarray) -> Confusions:
        """From counts (chains, C, C) of residues by true and predicted state."""
        wide = counts.astype(np.float64)
        return cls(np.diagonal(wide, axis1=1, axis2=2).copy(), wide.sum(axis=2), wide.sum(axis=1))

    def at(self, rows: np.ndarray) -> Confusions:
        """Those of some proteins."""
        return Confusions(self.hits[rows], self.true[rows], self.predicted[rows])

    def counts(self) -> dict[str, int]:
        """Proteins that count, by metric: those with a case."""
        return dict.fromkeys(("accuracy", "macro_f1", "mcc"), int(self.true.any(axis=1).sum()))

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """(draws,) by metric, for `weights` (draws, proteins); nan where a metric is not defined.

        accuracy is Q3 where the classes are three states. macro_f1 is the mean over the classes that occur in the truth
        of the draw. mcc is that of all classes together (Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006): not
        defined where the truth is of one class, and 0 where the prediction is.
        """
        hits, true, predicted = (weighted_sums(weights, part) for part in (self.hits, self.true, self.predicted))
        cases = true.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = np.where(true > 0, 2 * hits / (true + predicted), 0.0)
            accuracy = hits.sum(axis=1) / cases
            macro_f1 = f1.sum(axis=1) / (true > 0).sum(axis=1)
        return {"accuracy": accuracy, "macro_f1": macro_f1, "mcc": _matthews(hits, true, predicted)}


def _matthews(hits: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    cases = true.sum(axis=1)
    shared = hits.sum(axis=1) * cases - (true * predicted).sum(axis=1)
    of_truth, of_prediction = (cases**2 - np.square(part).sum(axis=1) for part in (true, predicted))
    below = np.sqrt(of_truth * of_prediction)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(of_truth == 0, np.nan, np.where(of_prediction == 0, 0.0, shared / below))
