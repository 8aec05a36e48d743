"""Metrics against worked examples, and the tasks' splits and propagation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate import metrics
from protea_ray.evaluate.composition import AMINO_ACIDS, composition
from protea_ray.evaluate.tasks import (
    consistent,
    gene_ontology,
    localization,
    own_table,
    propagated,
    relatives,
    split_by_words,
    with_relatives,
)
from tests.shared_data import shared
from tests.store import build

for module in ("sklearn", "scipy"):
    pytest.importorskip(module, reason="the extra `train` is not installed")


def test_classification_by_hand() -> None:
    truth = np.array([0, 0, 1, 1, 2])
    scores = np.eye(4)[[0, 1, 1, 1, 3]]  # class 3 never occurs
    found = metrics.classification(truth, scores)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert 0 < found["mcc"] < 1
    assert metrics.classification(truth, np.eye(3)[truth])["mcc"] == pytest.approx(1)


def test_regression_by_hand() -> None:
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    found = metrics.regression(truth, truth**3)
    assert found["spearman"] == pytest.approx(1)
    assert found["r2"] == pytest.approx(1 - found["mse"] * 4 / 5)
    assert metrics.regression(truth, np.ones(4))["spearman"] == 0


def test_fmax_by_hand() -> None:
    truth = np.array([[1, 1, 0, 0], [0, 0, 1, 0]], bool)
    scores = np.array([[0.9, 0.4, 0.6, 0.0], [0.0, 0.0, 0.3, 0.3]])
    # at 0.7 to 0.9: one protein predicted, precision 1, recall (1/2 + 0) / 2, F = 0.4
    # at 0.31 to 0.4: precision 2/3, recall (1 + 0) / 2, F = 4/7
    # at 0.01 to 0.3: precision (2/3 + 1/2) / 2 = 7/12, recall 1, F = 14/19
    found = metrics.fmax(truth, scores)
    assert found.fmax == pytest.approx(14 / 19)
    assert (found.precision, found.recall) == (pytest.approx(7 / 12), 1)
    assert found.threshold == pytest.approx(0.01)
    assert metrics.fmax(truth, truth.astype(float)).fmax == 1
    at_the_threshold = np.array([[0.5, 0.495]])  # only at 0.50 is the first term predicted and the second is not
    assert metrics.fmax(np.array([[True, False]]), at_the_threshold).fmax == 1
    assert metrics.fmax(truth, np.zeros((2, 4))).fmax == 0


def test_a_score_that_equals_a_threshold_is_a_prediction() -> None:
    """1.0 at the threshold 1.0, where the wrong term of 0.995 is predicted no longer."""
    best = metrics.fmax(np.array([[True, False]]), np.array([[1.0, 0.995]]))
    assert (best.fmax, best.threshold) == (1, 1)
    half = metrics.fmax(np.array([[True, False]]), np.array([[0.5, 0.495]]))
    assert (half.fmax, half.threshold) == (1, 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_fmax_is_that_of_two_loops(seed: int) -> None:
    """By the definition, threshold by threshold and protein by protein; scores lie on thresholds and between them."""
    draw = np.random.default_rng(seed)
    truth = draw.random((30, 7)) < 0.3
    truth[np.arange(30), draw.integers(0, 7, 30)] = True
    scores = np.clip(truth * 0.3 + draw.integers(0, 101, truth.shape) / 100 * draw.choice([1, 0.97], truth.shape), 0, 1)
    scores[:5] = 0  # nothing is predicted for these: they count in the recall alone
    best, at = 0.0, 1.0
    for step in range(1, 101):
        precisions, recalls = [], []
        for true, score in zip(truth.tolist(), scores.tolist(), strict=True):
            predicted = [s >= np.linspace(0.01, 1, 100)[step - 1] for s in score]
            hits = sum(a and b for a, b in zip(true, predicted, strict=True))
            precisions += [hits / sum(predicted)] if any(predicted) else []
            recalls.append(hits / sum(true))
        if precisions and sum(precisions):
            p, r = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
            if 2 * p * r / (p + r) > best + 1e-12:
                best, at = 2 * p * r / (p + r), step / 100
    found = metrics.multilabel(truth, scores)
    assert found["fmax"] == pytest.approx(best)
    assert found["threshold"] == pytest.approx(at)
    assert 2 * found["precision"] * found["recall"] / (found["precision"] + found["recall"]) == pytest.approx(best)


def test_matthews_and_squared_errors_by_hand() -> None:
    """MCC of two classes from the four counts; R2 and MSE from their sums; ranks with a tie."""
    truth, best = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0, 0])
    tp, tn, fp, fn = 2, 4, 1, 1
    expected = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert metrics.classification(truth, np.eye(2)[best])["mcc"] == pytest.approx(expected)
    values, predicted = np.array([1.0, 2.0, 2.0, 5.0]), np.array([2.0, 1.0, 3.0, 3.0])
    found = metrics.regression(values, predicted)
    assert found["mse"] == pytest.approx((1 + 1 + 1 + 4) / 4)
    assert found["r2"] == pytest.approx(1 - 7 / 9)  # the mean is 2.5: 2.25 + 0.25 + 0.25 + 6.25
    ranks, others = np.array([1, 2.5, 2.5, 4]), np.array([2, 1, 3.5, 3.5])
    assert found["spearman"] == pytest.approx(np.corrcoef(ranks, others)[0, 1])
    assert metrics.regression(np.ones(3), np.arange(3.0))["spearman"] == 0


def test_terms_are_propagated_without_the_root_and_scores_follow() -> None:
    parents = {"root": [], "a": ["root"], "b": ["a"], "c": ["a", "d"], "d": ["root"]}
    assert propagated(["c", "unknown"], parents) == {"c", "a", "d"}
    assert propagated(["root"], parents) == set()
    ancestors = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool)  # of the terms a, b, d: b is an a
    assert consistent(np.array([[0.2, 0.7, 0.1]]), ancestors).tolist() == [[0.7, 0.7, 0.1]]


def test_relatives_share_words_and_stay_on_one_side() -> None:
    rng = np.random.default_rng(0)
    letters = np.array(list(AMINO_ACIDS))
    alone = ["".join(rng.choice(letters, 120)) for _ in range(60)]
    kin = [s[:30] + "".join(rng.choice(letters, 90)) for s in alone]  # 25 words shared
    assert {tuple(p) for p in relatives(alone + kin).tolist()} == {(i, i + 60) for i in range(60)}
    split = split_by_words(alone + kin)
    assert split[:60] == split[60:]
    assert 10 <= split.count("test") <= 24
    assert not with_relatives(alone + kin, split).any()
    crossed = with_relatives(alone + kin, ["train"] * 60 + ["test"] * 60)
    assert crossed.tolist() == [False] * 60 + [True] * 60
    assert relatives([]).shape == (0, 2)
    assert len(relatives(["ACD", ""])) == 0


def test_five_words_make_a_relative_four_do_not_and_repeats_do_not() -> None:
    rng = np.random.default_rng(3)
    letters = np.array(list(AMINO_ACIDS))
    tail = lambda: "".join(rng.choice(letters, 60))  # noqa: E731
    start = "ACDEFGHIKLMNPQ"  # n letters have n - 5 words
    assert relatives([start[:10] + tail(), start[:10] + tail()]).tolist() == [[0, 1]]
    assert relatives([start[:9] + tail(), start[:9] + tail()]).tolist() == []
    twice = start[:8] + "W" * 7 + start[:8]  # a word that is there twice counts once
    assert relatives([twice + tail(), start[:8] + tail()]).tolist() == []
    assert len(relatives([start + tail() for _ in range(50)])) == 50 * 49 // 2
    assert relatives([start + tail() for _ in range(51)]).tolist() == []  # in so many proteins it is a repeat


def test_composition() -> None:
    rows = composition(["AACX", AMINO_ACIDS])
    assert rows[0, :2].tolist() == [0.5, 0.25]
    assert rows[0].sum() == 0.75  # X is none of the twenty
    assert np.allclose(rows[1], 1 / 20)


def test_the_localization_task() -> None:
    task = localization(shared("task_localization"))
    assert (len(task.ids), task.split.count("test"), len(task.names)) == (4423, 2768, 10)
    assert "23 proteins with the double label" in task.notes[0]


def test_the_go_tasks_follow_the_ontology() -> None:
    folder = shared("task_go")
    sequences = _fasta(folder / "tale_go.fasta")
    task = gene_ontology(folder, "mf", sequences)
    assert (len(task.ids), len(task.names)) == (1906, 181)
    encoded = task.encoded() > 0
    assert encoded.any(axis=1).all()
    assert task.ancestors is not None
    for term, ancestors in enumerate(task.ancestors):
        assert encoded[encoded[:, term]][:, ancestors].all()
    assert task.ancestors.sum() > 2 * len(task.names)  # more than each term itself
    assert "GO:0003674" not in task.names  # the root
    assert not with_relatives([sequences[id] for id in task.ids], task.split).any()
    with pytest.raises(ConfigError, match="terms of bp cannot be propagated"):
        gene_ontology(folder, "bp", sequences)


def _fasta(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in path.read_text().split(">")[1:]:
        header, *lines = record.splitlines()
        found[header.split()[0]] = "".join(lines)
    return found


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    sequences = {f"P{n:05d}": build.sequence(n) for n in range(40)}
    path = tmp_path / "t.csv"
    path.write_text("id,target\n" + "".join(f"{id},{n}\n" for n, id in enumerate([*sequences, "other"])))
    task = own_table(path, "regression", sequences)
    assert task.encoded().tolist() == list(range(40))
    assert set(task.split) == {"train", "test"}
    path.write_text("id,target,split\nP00001,a;b,train\nP00002,b,test\n")
    task = own_table(path, "multilabel", sequences)
    assert (task.names, task.encoded().tolist()) == (("a", "b"), [[1, 1], [0, 1]])
    path.write_text("id,target,split\nP00001,a,train\nP00002,b,valid\n")
    with pytest.raises(InputError, match="must hold train and test"):
        own_table(path, "classification", sequences)
    headers = {f"sp|P1000{n}|N{n}_X": build.sequence(n) for n in range(3)}
    path.write_text("id,target,split\nP10000,1,train\nN1_X,2,test\nQ9,3,test\n")
    task = own_table(path, "regression", headers)
    assert task.ids == ["sp|P10000|N0_X", "sp|P10001|N1_X"]
    assert "1 of 3 rows are of no protein of the store." in task.notes
    path.write_text("id,target\nQ8,1\nQ9,3\n")
    with pytest.raises(InputError, match=r"none of 2 ids .*like 'Q8', 'Q9', the store's like 'sp\|P10000\|N0_X'"):
        own_table(path, "regression", headers)
    path.write_text("id,target\nP10000,1\nP10000,3\n")
    with pytest.raises(InputError, match="stand in several rows"):
        own_table(path, "regression", headers)
    path.write_text("name,target\nP00001,a\n")
    with pytest.raises(ConfigError, match="has no column id"):
        own_table(path, "classification", sequences)
