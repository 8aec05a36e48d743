"""Metrics of classes, numbers and residues against scikit-learn and scipy: the values, and every bootstrap draw."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from protea_ray.evaluate.bootstrap import draws
from protea_ray.evaluate.measured import Measure
from protea_ray.evaluate.metrics import measure
from protea_ray.evaluate.task import CLASSIFICATION, REGRESSION, RESIDUE, Task
from tests.evaluate.made_tasks import classes, numbers, residues, task_of

pytest.importorskip("sklearn", reason="scikit-learn, the reference, is not installed")

RESAMPLES = 40
Reference = Callable[[np.ndarray], dict[str, float]]  # of the metrics of some rows, which may stand there several times


def by_name(task: Task, scores: np.ndarray, resamples: int = RESAMPLES) -> dict[tuple[str, str], Measure]:
    """The measures by subset and metric."""
    return {(m.subset, m.metric): m for m in measure(task, scores, resamples)}


def agrees(task: Task, scores: np.ndarray, reference: Reference) -> None:
    """Every value is the reference's of the subset's rows, and every resampled one that of the rows drawn."""
    found = by_name(task, scores)
    for subset, rows in task.subsets().items():
        members = np.flatnonzero(rows)
        drawn = np.concatenate(list(draws(task.digest, subset, len(members), RESAMPLES))).astype(int)
        expected = [reference(np.repeat(members, counts)) for counts in drawn]
        for metric, value in reference(members).items():
            one = found.pop((subset, metric))
            assert one.value == (None if math.isnan(value) else pytest.approx(value, abs=1e-12))
            assert one.resampled.dtype == np.float32
            assert one.resampled == pytest.approx([e[metric] for e in expected], abs=1e-6, nan_ok=True)
    assert not found


def classified(truth: np.ndarray, best: np.ndarray) -> dict[str, float]:
    """scikit-learn's figures. Its Matthews is 0 for a truth of one class, where it is not defined."""
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a label has no prediction
        return {
            "accuracy": float(accuracy_score(truth, best)),
            "macro_f1": float(f1_score(truth, best, average="macro", labels=np.unique(truth), zero_division=0)),
            "mcc": float(matthews_corrcoef(truth, best)) if len(np.unique(truth)) > 1 else math.nan,
        }


@pytest.mark.parametrize("seed", range(2))
def test_classes_are_measured_as_scikit_learn_does(seed: int) -> None:
    task, scores = classes(seed=seed)
    agrees(task, scores, lambda rows: classified(task.targets[rows], scores[rows].argmax(axis=1)))
    assert {m.count for m in measure(task, scores, 0) if m.subset == "all"} == {60}


def test_residues_are_measured_as_scikit_learn_does_and_drawn_by_chain() -> None:
    task, counts = residues()
    states = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)

    def reference(rows: np.ndarray) -> dict[str, float]:
        times = counts[rows].sum(axis=0).ravel()
        return classified(np.repeat(states[0], times), np.repeat(states[1], times))

    agrees(task, counts, reference)
    found = by_name(task, counts, 0)
    assert {m.count for (subset, _), m in found.items() if subset == "all"} == {39}  # one of 40 has no residue
    assert found["all", "accuracy"].value == pytest.approx(np.trace(counts.sum(axis=0)) / counts.sum())


def test_numbers_are_measured_as_scipy_and_scikit_learn_do() -> None:
    from scipy.stats import spearmanr
    from sklearn.metrics import mean_squared_error, r2_score

    task, predicted = numbers()

    def reference(rows: np.ndarray) -> dict[str, float]:
        truth, said = task.targets[rows], predicted[rows]
        return {
            "spearman": float(np.asarray(spearmanr(truth, said))[0]),
            "r2": float(r2_score(truth, said)),
            "mse": float(mean_squared_error(truth, said)),
        }

    agrees(task, predicted, reference)


def test_classes_by_hand() -> None:
    task = task_of(CLASSIFICATION, np.array([0, 0, 1, 1, 2]), tuple("abcd"), lengths=(50,))
    found = by_name(task, np.eye(4)[[0, 1, 1, 1, 3]], 0)  # class 3 never occurs
    assert found["all", "accuracy"].value == pytest.approx(3 / 5)
    assert found["all", "macro_f1"].value == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert {subset for subset, _ in found} == {"all", "without_relatives", "up_to_1022"}  # those with a protein
    assert all(m.resampled.shape == (0,) for m in found.values())
    assert by_name(task, np.eye(4)[task.targets], 0)["all", "mcc"].value == 1


def test_matthews_and_squared_errors_by_hand() -> None:
    """MCC of two classes from the four counts; R2 and MSE from their sums; ranks with a tie."""
    truth, best = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0, 0])
    found = by_name(task_of(CLASSIFICATION, truth, ("no", "yes")), np.eye(2)[best], 0)
    tp, tn, fp, fn = 2, 4, 1, 1
    expected = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert found["all", "mcc"].value == pytest.approx(expected)
    task = task_of(REGRESSION, np.array([1.0, 2.0, 2.0, 5.0]))
    found = by_name(task, np.array([2.0, 1.0, 3.0, 3.0]), 0)
    assert found["all", "mse"].value == pytest.approx((1 + 1 + 1 + 4) / 4)
    assert found["all", "r2"].value == pytest.approx(1 - 7 / 9)  # the mean is 2.5: 2.25 + 0.25 + 0.25 + 6.25
    ranks, others = np.array([1, 2.5, 2.5, 4]), np.array([2, 1, 3.5, 3.5])
    assert found["all", "spearman"].value == pytest.approx(np.corrcoef(ranks, others)[0, 1])


def test_what_is_not_defined_has_no_value() -> None:
    one_class = by_name(task_of(CLASSIFICATION, np.zeros(5, np.int64), ("a", "b")), np.eye(2)[[0, 0, 0, 1, 1]], 3)
    assert one_class["all", "mcc"].value is None
    assert np.isnan(one_class["all", "mcc"].resampled).all()
    assert one_class["all", "macro_f1"].value == pytest.approx(2 * 3 / (5 + 3))
    said_one = by_name(task_of(CLASSIFICATION, np.array([0, 1, 1, 0, 1]), ("a", "b")), np.eye(2)[[1] * 5], 0)
    assert said_one["all", "mcc"].value == 0  # as in scikit-learn: no better than chance
    constant = by_name(task_of(REGRESSION, np.full(4, 0.1)), np.arange(4.0), 3)
    assert constant["all", "spearman"].value is constant["all", "r2"].value is None
    assert constant["all", "mse"].value == pytest.approx((0.01 + 0.81 + 1.9**2 + 2.9**2) / 4)
    said_constant = by_name(task_of(REGRESSION, np.arange(4.0)), np.full(4, 1.5), 0)
    assert said_constant["all", "spearman"].value is None
    assert said_constant["all", "r2"].value == pytest.approx(0)
    nothing = by_name(task_of(RESIDUE, np.zeros(0), tuple("HEC"), fold=np.zeros(2)), np.zeros((2, 3, 3), np.int64), 2)
    assert {m.value for m in nothing.values()} == {None}
    assert {m.count for m in nothing.values()} == {0}


def test_every_input_is_judged_on_the_same_draws() -> None:
    """Scores that are better for one protein are better in exactly the draws that hold it, and equal in the others."""
    task, scores = classes()
    wrong = np.flatnonzero(scores.argmax(axis=1) != task.targets)[0]
    better = scores.copy()
    better[wrong, task.targets[wrong]] = 9
    before, after = (by_name(task, s)["all", "accuracy"].resampled for s in (scores, better))
    (weights,) = draws(task.digest, "all", 60, RESAMPLES)
    assert (after - before) * 60 == pytest.approx(weights[:, wrong], abs=1e-4)


def test_scores_that_do_not_fit_are_refused() -> None:
    task, scores = classes()
    with pytest.raises(ValueError, match="59 rows of scores for 60 tested proteins"):
        measure(task, scores[1:], 0)
    scores[7, 2] = np.nan
    with pytest.raises(ValueError, match="the scores of 'P7' are not finite"):
        measure(task, scores, 0)
