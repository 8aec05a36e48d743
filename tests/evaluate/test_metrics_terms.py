"""Fmax and its variants, Smin and micro F1max against hand-worked examples, two loops, and CAFA's evaluator."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protea_ray.evaluate.bootstrap import draws
from protea_ray.evaluate.measured import Measure
from protea_ray.evaluate.metrics import measure
from protea_ray.evaluate.ontology import information_accretion
from protea_ray.evaluate.task import ALWAYS_TRAINS, MULTILABEL, Task
from protea_ray.evaluate.thresholds import ThresholdCounts, fmax
from tests.evaluate import by_loops
from tests.evaluate.made_tasks import NAMES, PARENTS, learnable, task_of, terms
from tools.cafa_oracle import METRICS, VARIABLE, cafa_figures, compare_folder, generated, product_figures, write_files

RESAMPLES = 10
GRAPH_METRICS = {"fmax_with_root", "fmax_weighted", "smin"}


def by_name(task: Task, scores: np.ndarray, resamples: int = 0) -> dict[tuple[str, str], Measure]:
    """The measures by subset and metric."""
    return {(m.subset, m.metric): m for m in measure(task, scores, resamples)}


def best_f(truth: Sequence[Sequence[int]], scores: Sequence[Sequence[float]]) -> float:
    """Fmax of one fold whose terms can all be learned."""
    rows = np.array(truth, bool)
    return float(fmax(ThresholdCounts.of_scores(rows, np.array(scores)), np.ones((1, len(rows))))[0])


def test_fmax_by_hand() -> None:
    truth = [[1, 1, 0, 0], [0, 0, 1, 0]]
    scores = [[0.9, 0.4, 0.6, 0.0], [0.0, 0.0, 0.3, 0.3]]
    # at 0.7 to 0.9: one protein predicted, precision 1, recall (1/2 + 0) / 2, F = 0.4
    # at 0.31 to 0.4: precision 2/3, recall (1 + 0) / 2, F = 4/7
    # at 0.01 to 0.3: precision (2/3 + 1/2) / 2 = 7/12, recall 1, F = 14/19
    assert best_f(truth, scores) == pytest.approx(14 / 19)
    assert best_f(truth, np.array(truth, float).tolist()) == 1
    assert best_f(truth, np.zeros((2, 4)).tolist()) == 0


def test_a_score_that_equals_a_threshold_is_a_prediction() -> None:
    """1.0 at the threshold 1.0, where the wrong term of 0.995 is predicted no longer; and 0.5, 0.01 alike."""
    assert best_f([[1, 0]], [[1.0, 0.995]]) == 1
    assert best_f([[1, 0]], [[0.5, 0.495]]) == 1
    assert best_f([[1, 0]], [[0.01, 0.00999]]) == 1
    assert best_f([[1, 0]], [[0.5, 0.501]]) == pytest.approx(2 / 3)  # no threshold is between them


def proteins_of(task: Task, scores: np.ndarray, rows: np.ndarray, *, whole: bool, weighted: bool = False,
                root: bool = False) -> list[by_loops.Protein]:  # fmt: skip
    """What the loops read: the proteins of `rows` of the tested ones that count, whatever the terms weigh."""
    known, found = learnable(task), []
    for row in rows.tolist():
        fold = int(task.fold[task.tested[row]])
        truth = task.targets[task.tested[row]] & (True if whole else known[row])
        true, said = {NAMES[t] for t in np.flatnonzero(truth)}, dict(zip(NAMES, scores[row].tolist(), strict=True))
        bits = information_accretion(task.targets[task.fold != fold], NAMES, PARENTS) if weighted else np.ones(8)
        weights = dict(zip(NAMES, bits.tolist(), strict=True))
        if root:
            true, said, weights = true | {"root"}, said | {"root": max(said.values())}, weights | {"root": 1.0}
        if true:
            found.append((true, said, weights))
    return found


def references(task: Task, scores: np.ndarray) -> dict[str, Callable[[np.ndarray], float]]:
    """By metric, what the loops say of some rows."""
    of = lambda rows, **kind: proteins_of(task, scores, rows, **kind)  # noqa: E731
    return {
        "fmax": lambda rows: by_loops.fmax(of(rows, whole=False)),
        "fmax_all_terms": lambda rows: by_loops.fmax(of(rows, whole=True)),
        "fmax_with_root": lambda rows: by_loops.fmax(of(rows, whole=False, root=True)),
        "fmax_weighted": lambda rows: by_loops.fmax(of(rows, whole=True, weighted=True)),
        "smin": lambda rows: by_loops.smin(of(rows, whole=True, weighted=True)),
        # with the root, so that proteins without a term that can be learned are there too; then without it
        "f1max_micro": lambda rows: by_loops.f1max_micro(
            [(t - {"root"}, {n: v for n, v in s.items() if n != "root"}, w)
             for t, s, w in of(rows, whole=False, root=True)]),
    }  # fmt: skip


def test_values_and_draws_are_those_of_two_loops() -> None:
    """Three folds with terms and information accretion of their own, on all proteins and on a subset."""
    task, scores = terms()
    found = by_name(task, scores, RESAMPLES)
    assert {metric for _, metric in found} == {"fmax", "fmax_all_terms", "f1max_micro", *GRAPH_METRICS}
    for subset in ("all", "above_2046"):
        members = np.flatnonzero(task.subsets()[subset])
        drawn = np.concatenate(list(draws(task.digest, subset, len(members), RESAMPLES))).astype(int)
        for metric, reference in references(task, scores).items():
            assert found[subset, metric].value == pytest.approx(reference(members), abs=1e-9), metric
            expected = [reference(np.repeat(members, counts)) for counts in drawn]
            assert found[subset, metric].resampled == pytest.approx(expected, abs=1e-6), metric


def test_the_counts_are_of_proteins_that_have_something_to_find() -> None:
    task, scores = terms()
    counts = {metric: m.count for (subset, metric), m in by_name(task, scores).items() if subset == "all"}
    assert counts == {"fmax": 65, "fmax_with_root": 67, "fmax_all_terms": 67, "fmax_weighted": 67, "smin": 67,
                      "f1max_micro": 67}  # fmt: skip
    found = by_name(task, scores)
    assert found["all", "fmax_all_terms"].value < found["all", "fmax"].value < found["all", "fmax_with_root"].value


def test_without_a_graph_there_is_neither_root_nor_information() -> None:
    task, scores = terms()
    found = by_name(replace(task, parents={}), scores)
    assert {metric for _, metric in found} == {"fmax", "fmax_all_terms", "f1max_micro"}
    assert found["all", "fmax"].value == by_name(task, scores)["all", "fmax"].value


def test_a_subset_of_which_nothing_can_be_found_has_no_value() -> None:
    """Terms of fewer than ten training proteins; a single protein without a prediction has an F of 0, and no Smin."""
    truth = np.ones((12, 1), bool)
    fold = np.array([0, 0, 0, *[ALWAYS_TRAINS] * 9])
    task = task_of(MULTILABEL, truth, ("a",), fold=fold, parents={"r": (), "a": ("r",)})
    found = by_name(task, np.zeros((3, 1)), 4)
    assert (found["all", "fmax"].count, found["all", "fmax"].value) == (0, None)
    assert np.isnan(found["all", "fmax"].resampled).all()
    assert (found["all", "fmax_all_terms"].count, found["all", "fmax_all_terms"].value) == (3, 0)
    assert found["all", "smin"].value is None
    assert found["all", "f1max_micro"].value is None


def test_scores_that_no_probe_can_give_are_refused() -> None:
    task, scores = terms()
    above = scores + 0.5
    with pytest.raises(ValueError, match=r"they must lie in \[0, 1\]"):
        measure(task, above, 0)
    scores[0, NAMES.index("h")] = 0.2
    with pytest.raises(ValueError, match="h is predicted for 'P1', whose fold cannot learn it"):
        measure(task, scores, 0)


def test_half_precision_and_single_give_what_double_gives() -> None:
    task, scores = terms()
    rounded = scores.astype(np.float16)
    expected = [m.value for m in measure(task, rounded.astype(np.float64), 0)]
    assert [m.value for m in measure(task, rounded, 0)] == expected
    assert [m.value for m in measure(task, rounded.astype(np.float32), 0)] == expected


# PROTEA_RAY_CAFAEVAL=<Python with cafaeval 1.3.0> python -m tools.cafa_oracle, its last column, in the order of METRICS
CAFA = {
    0: (0.63123567, 0.67069074, 0.56818414, 3.29772055),
    1: (0.60037985, 0.64275237, 0.55895232, 3.48605651),
    2: (0.54138537, 0.61748637, 0.52921926, 3.05413364),
    3: (0.56740662, 0.62028439, 0.45929434, 4.31543880),
}


@pytest.mark.parametrize("seed", CAFA)
def test_figures_are_those_that_cafas_evaluator_gave(seed: int) -> None:
    found = product_figures(generated(seed))
    assert [found[metric] for metric in METRICS] == pytest.approx(CAFA[seed], abs=5e-7)


def test_a_task_is_measured_as_cafas_evaluator_does() -> None:
    """The same example as a task: every term can be learned from ten more proteins that have them all.

    Information accretion then follows from these, so the weighted figures are other ones.
    """
    example = generated(0)
    training = np.ones((10, example.truth.shape[1]), bool)
    fold = np.repeat([0, ALWAYS_TRAINS], [len(example.truth), 10])
    task = task_of(MULTILABEL, np.concatenate([example.truth, training]), example.names, fold=fold,
                   parents=example.parents)  # fmt: skip
    found = by_name(task, example.scores)
    assert found["all", "fmax"].value == found["all", "fmax_all_terms"].value == pytest.approx(CAFA[0][0], abs=5e-7)
    assert found["all", "fmax_with_root"].value == pytest.approx(CAFA[0][1], abs=5e-7)


@pytest.fixture
def cafa_python() -> str:
    """The Python that has cafaeval; skips without one."""
    python = os.environ.get(VARIABLE)
    if python is None:
        pytest.skip(f"{VARIABLE} names no Python with cafaeval 1.3.0 (see tools/cafa_oracle.py)")
    return python


@pytest.mark.slow
def test_figures_are_those_of_cafas_evaluator(cafa_python: str, tmp_path: Path) -> None:
    example = generated(17)
    theirs = cafa_figures(cafa_python, write_files(tmp_path, example))["one.tsv"]
    assert product_figures(example) == pytest.approx(theirs, abs=5e-7)


@pytest.mark.slow
def test_figures_are_those_of_cafas_evaluator_on_its_own_example(
    cafa_python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five predictions for 168 proteins, among them scores of the root itself; it reads its own files."""
    (folder,) = Path(cafa_python).parents[1].glob("lib/python*/site-packages/cafaeval/data/example")
    assert compare_folder(cafa_python, folder)
    assert capsys.readouterr().out.count("equal") == 5 * len(METRICS)
