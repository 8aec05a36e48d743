"""Predictions against solutions of other libraries, and what they must not depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from protea_ray.errors import InputError
from protea_ray.evaluate import probe
from protea_ray.evaluate.probe import predictions
from protea_ray.evaluate.probe_training import Labelled, Probe
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import ALWAYS_TRAINS, CLASSIFICATION, MULTILABEL, REGRESSION
from tests.evaluate.numbered_tasks import classes, halves, made_task

NAMES = ("a", "b", "c")
QUICK = Protocol(epochs=4, hidden=8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_classes_as_scikit_learn_finds_them() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    targets, features = classes(1200, 8, signal=1.5)
    task = made_task(CLASSIFICATION, targets, halves(1200), NAMES)
    found = predictions(task, features * 7 + 3, 0, Protocol())
    train, tested = np.flatnonzero(task.fold < 0), task.tested
    expected = linear_model.LogisticRegression().fit(features[train], targets[train]).predict_proba(features[tested])
    assert list(found) == ["linear", "mlp"]
    assert 0.6 < (expected.argmax(1) == targets[tested]).mean() < 0.9
    assert np.abs(found["linear"] - expected).mean() < 0.03
    assert np.abs(found["mlp"] - expected).mean() < 0.08
    assert found["mlp"].sum(axis=1) == pytest.approx(np.ones(600), abs=1e-5)


def test_numbers_as_least_squares_finds_them_in_their_own_unit() -> None:
    draw = np.random.default_rng(1)
    features = draw.normal(size=(800, 6)).astype(np.float32)
    targets = 5000 + 20 * features @ draw.normal(size=6) + 10 * draw.normal(size=800)
    task = made_task(REGRESSION, targets, halves(800))
    found = predictions(task, features, 0, Protocol())
    train, tested = task.fold < 0, task.tested
    wide = np.column_stack([features, np.ones(800)])
    expected = wide[tested] @ np.linalg.lstsq(wide[train], targets[train])[0]
    for name, most in (("linear", 2.0), ("mlp", 6.0)):
        assert found[name].shape == (400,)
        assert np.abs(found[name] - expected).mean() < most, name
    assert np.abs(expected - targets[train].mean()).mean() > 20


def test_terms_as_scikit_learn_finds_each() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(2)
    features = draw.normal(size=(1500, 5)).astype(np.float32)
    targets = features @ draw.normal(size=(5, 4)) + 3 * draw.normal(size=(1500, 4)) > np.array([0, 1, 2, 4])
    task = made_task(MULTILABEL, targets, halves(1500), ("w", "x", "y", "z"))
    found = predictions(task, features, 0, Protocol())["linear"]
    train = task.fold < 0
    for term in range(4):
        model = linear_model.LogisticRegression().fit(features[train], targets[train, term])
        expected = model.predict_proba(features[task.tested])[:, 1]
        assert np.abs(found[:, term] - expected).mean() < 0.03


def test_the_mlp_finds_what_no_line_does() -> None:
    draw = np.random.default_rng(3)
    features = draw.normal(size=(1200, 2)).astype(np.float32)
    targets = (features[:, 0] * features[:, 1] > 0).astype(np.int64)
    task = made_task(CLASSIFICATION, targets, halves(1200), NAMES[:2])
    found = predictions(task, features, 0, Protocol())
    right = {name: (scores.argmax(1) == targets[task.tested]).mean() for name, scores in found.items()}
    assert right["mlp"] > 0.9
    assert right["linear"] < 0.65


def test_the_same_bits_whatever_the_threads_and_the_other_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, features = classes(300, 64, signal=1.0)
    task = made_task(CLASSIFICATION, targets, np.arange(300) % 3, NAMES)
    found = predictions(task, features, 0, QUICK)
    torch.set_num_threads(2)
    seen, fit = set(), probe.fit
    monkeypatch.setattr(probe, "fit", lambda *given: (seen.add(torch.get_num_threads()), fit(*given))[1])
    again = predictions(task, features, 0, QUICK)
    assert (seen, torch.get_num_threads()) == ({1}, 2)
    torch.manual_seed(99)
    alone = predictions(task, features, 0, QUICK, ("mlp",))
    assert all(np.array_equal(found[name], again[name]) for name in found)
    assert list(alone) == ["mlp"]
    assert np.array_equal(alone["mlp"], found["mlp"])
    other = predictions(task, features, 1, QUICK, ("mlp",))
    assert not np.array_equal(other["mlp"], alone["mlp"])


def test_a_fold_is_predicted_without_its_own_targets_and_features() -> None:
    """What the tested proteins of a fold are and have changes nothing of the predictions for its other proteins."""
    targets, features = classes(300, 6, signal=1.0)
    fold = np.arange(300) % 3
    found = predictions(made_task(CLASSIFICATION, targets, fold, NAMES), features, 0, QUICK)
    changed, moved = targets.copy(), features.copy()
    changed[fold == 0] = (changed[fold == 0] + 1) % 3
    moved[np.flatnonzero(fold == 0)[:50]] += 100
    after = predictions(made_task(CLASSIFICATION, changed, fold, NAMES), moved, 0, QUICK)
    rest = np.flatnonzero(fold == 0)[50:]
    for name in found:
        assert np.array_equal(found[name][rest], after[name][rest])
        assert not np.array_equal(found[name][fold == 1], after[name][fold == 1])


@pytest.mark.parametrize("kept", [False, True])
def test_a_drawn_tenth_chooses_the_epochs_of_a_probe_of_all(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 training proteins 90 and 10, then all of them for as many epochs; of those that the file keeps never."""
    targets, features = classes(200, 6, signal=1.0)
    seen: list[tuple[int, int, int, int]] = []
    fit = probe.fit

    def noted(name: str, outputs: int, fitted: Labelled, chooses: Labelled, *others: Any) -> Probe:
        found = fit(name, outputs, fitted, chooses, *others)
        seen.append((len(fitted.inputs), len(chooses.inputs), others[1].epochs, found.epochs))
        return found

    monkeypatch.setattr(probe, "fit", noted)
    validation = (np.arange(200) < 24) & (np.arange(200) % 2 == 0) if kept else None
    predictions(made_task(CLASSIFICATION, targets, halves(200), NAMES, validation=validation), features, 0, Protocol())
    if kept:
        assert [call[:3] for call in seen] == [(88, 12, 300)] * 2
    else:
        first, again, third, fourth = seen
        assert first[:3] == third[:3] == (90, 10, 300)
        assert again == (100, 0, first[3], first[3])
        assert fourth == (100, 0, third[3], third[3])
        assert 0 < first[3] < 300


def test_classes_that_training_or_validation_lacks() -> None:
    targets, features = classes(200, 6, signal=2.0)
    targets = np.concatenate([targets, [3] * 10, [4] * 10])
    features = np.concatenate([features, np.random.default_rng(5).normal(size=(20, 6))]).astype(np.float32)
    fold, validation = halves(220), np.zeros(220, bool)
    fold[200:210], fold[210:] = 0, ALWAYS_TRAINS  # class 3 is only tested, class 4 is only in validation
    validation[180:200:2] = True
    validation[210:] = True
    task = made_task(CLASSIFICATION, targets, fold, (*NAMES, "tested", "kept"), validation=validation)
    found = predictions(task, features, 0, Protocol())
    for scores in found.values():
        assert np.isfinite(scores).all()
        assert scores[:, 3:].max() < 0.1
        assert (scores[:100].argmax(1) == targets[task.tested][:100]).mean() > 0.7


def test_terms_that_cannot_be_learned_are_0_and_the_graph_is_kept() -> None:
    """Term c is below b, which is below a; of d there are 9 proteins in training, one less than it takes.

    A term is the one below it or a feature of its own, so without the graph a low feature would make it less likely.
    """
    features = np.random.default_rng(6).normal(size=(400, 4)).astype(np.float32)
    c = features[:, 0] > 1
    b = c | (features[:, 1] > 1)
    targets = np.stack([b | (features[:, 2] > 1), b, c, np.arange(400) < 18], axis=1)
    parents = {"root": (), "a": ("root",), "b": ("a",), "c": ("b",), "d": ("root",)}
    task = made_task(MULTILABEL, targets, halves(400), ("a", "b", "c", "d"), parents=parents)
    assert task.learnable(0).tolist() == [True, True, True, False]
    for scores in predictions(task, features, 0, Protocol(learning_rate=1e-2)).values():
        assert (scores[:, 3] == 0).all()
        assert (scores[:, 0] >= scores[:, 1]).all()
        assert (scores[:, 1] >= scores[:, 2]).all()
        assert scores[:, 2].std() > 0.01


def test_a_fold_without_learnable_terms_is_all_0() -> None:
    task = made_task(MULTILABEL, np.arange(40)[:, None] < 15, halves(40), ("a",))
    found = predictions(task, np.ones((40, 3), np.float32), 0, QUICK)
    assert all((scores == 0).all() and scores.shape == (20, 1) for scores in found.values())


def test_half_precision_and_constant_features() -> None:
    targets, features = classes(300, 6, signal=2.0)
    features[:, 5] = 0.125
    task = made_task(CLASSIFICATION, targets, halves(300), NAMES)
    wide, half = (predictions(task, features.astype(kind), 0, QUICK) for kind in (np.float32, np.float16))
    assert np.abs(wide["linear"] - half["linear"]).max() < 0.01
    features[task.tested, 5] = 1000  # a feature that training says nothing of
    assert np.array_equal(predictions(task, features, 0, QUICK)["mlp"], wide["mlp"])


def test_features_that_are_not_finite_are_named() -> None:
    targets, features = classes(40, 6, signal=1.0)
    features[7, 2], features[9, 1] = np.nan, np.inf
    with pytest.raises(InputError, match=r"P00007, P00009 hold values that are not finite"):
        predictions(made_task(CLASSIFICATION, targets, halves(40), NAMES), features, 0, QUICK)
