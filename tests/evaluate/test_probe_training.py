"""Early stopping: which epoch's weights a probe ends with, and when it ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from protea_ray.evaluate import probe_training
from protea_ray.evaluate.probe_training import PROBES, Labelled, Probe, first_bias, fit, loss_of
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import CLASSIFICATION, MULTILABEL, REGRESSION


def noise(count: int, seed: int) -> Labelled:
    """Features that say nothing of the class."""
    draw = np.random.default_rng(seed)
    inputs = torch.from_numpy(draw.normal(size=(count, 40)).astype(np.float32))
    return Labelled(inputs, torch.from_numpy(draw.integers(0, 2, count)))


def hints(count: int, seed: int) -> Labelled:
    """Features of which one says something of the class, and 39 nothing."""
    made = noise(count, seed)
    made.inputs[:, 0] += 2 * made.targets
    return made


@pytest.mark.parametrize("name", PROBES)
def test_the_best_epoch_counts_and_patience_ends_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses are counted by another way than in `fit`: after each epoch, on the probe as it then is."""
    losses: list[float] = []
    fitted, chooses = hints(100, 0), hints(60, 1)
    epoch = probe_training._one_epoch

    def noted(probe: Probe, *others: object) -> None:
        epoch(probe, *others)  # type: ignore[arg-type]
        with torch.no_grad():
            losses.append(loss_of(CLASSIFICATION, probe.scores(chooses.inputs), chooses.targets).item())

    monkeypatch.setattr(probe_training, "_one_epoch", noted)
    protocol = Protocol(epochs=100, patience=3, batch_size=10, hidden=8, learning_rate=1e-2)
    found = fit(name, 2, fitted, chooses, CLASSIFICATION, protocol, 0)
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 100
    assert found.epochs == best + 1
    assert best > 0
    assert loss_of(CLASSIFICATION, found.scores(chooses.inputs), chooses.targets).item() == min(losses)
    assert losses[-1] > min(losses)


@pytest.mark.parametrize("name", PROBES)
def test_features_that_say_nothing_end_with_the_frequencies(name: str) -> None:
    """What they say of the fitted proteins is the opposite of the others. Two thirds of both are of class 0.

    A number is left out of this, since a constant has no ranks.
    """
    inputs = noise(60, 0).inputs
    classes = torch.arange(60) % 3 // 2
    protocol = Protocol(patience=4, batch_size=10, hidden=8, learning_rate=1e-2)
    found = fit(name, 2, Labelled(inputs, classes), Labelled(-inputs, classes), CLASSIFICATION, protocol, 0)
    assert found.scores(inputs).softmax(1)[:, 0].tolist() == pytest.approx([40.5 / 61] * 60)
    numbers = classes.float()
    moved = fit(name, 1, Labelled(inputs, numbers), Labelled(-inputs, numbers), REGRESSION, protocol, 0)
    assert moved.scores(inputs).std() > 0.01


def test_hidden_units_are_dropped_while_weights_are_fitted_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[bool, bool]] = set()
    scores = Probe.scores

    def noted(probe: Probe, inputs: torch.Tensor, training: bool = False) -> torch.Tensor:
        seen.add((torch.is_grad_enabled(), training))
        return scores(probe, inputs, training)

    monkeypatch.setattr(Probe, "scores", noted)
    fit("mlp", 2, noise(30, 0), noise(30, 1), CLASSIFICATION, Protocol(epochs=2, hidden=8), 0)
    assert seen == {(True, True), (False, False)}


def test_without_proteins_to_choose_by_the_last_epoch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = Protocol(epochs=6, patience=2, hidden=8)
    fitted, none = noise(30, 0), noise(0, 1)
    last: list[list[torch.Tensor]] = []
    epoch = probe_training._one_epoch

    def noted(probe: Probe, *others: object) -> None:
        epoch(probe, *others)  # type: ignore[arg-type]
        last.append([w.detach().clone() for w in probe.weights])

    monkeypatch.setattr(probe_training, "_one_epoch", noted)
    found = fit("mlp", 2, fitted, none, CLASSIFICATION, protocol, 0)
    assert len(last) == 6
    assert all(torch.equal(a, b) for a, b in zip(found.weights, last[-1], strict=True))


def test_the_first_predictions_are_the_frequencies() -> None:
    """By hand: 3 of 4 proteins have term 1 and none term 2; classes 2, 1, 0 times; numbers whose mean is 2."""
    terms = first_bias(MULTILABEL, torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 0]]), 2)
    assert terms.tolist() == pytest.approx([math.log(3.5 / 1.5), math.log(0.5 / 4.5)])
    shares = first_bias(CLASSIFICATION, torch.tensor([0, 0, 1]), 3).exp()
    assert shares.tolist() == pytest.approx([2.5 / 4.5, 1.5 / 4.5, 0.5 / 4.5])
    assert first_bias(REGRESSION, torch.tensor([1.0, 3.0]), 1).tolist() == [2.0]
    for name in PROBES:
        probe = Probe(name, 5, terms, 4, 0)
        assert probe.scores(torch.randn(3, 5)).detach().numpy() == pytest.approx(np.tile(terms, (3, 1)))


def test_a_fifth_of_the_hidden_units_is_dropped_in_training_alone() -> None:
    probe = Probe("mlp", 3, torch.zeros(1), 1000, 0)
    probe.weights[2] = torch.ones(1, 1000)
    inputs = torch.full((1, 3), 100.0)
    hidden = torch.nn.functional.gelu(torch.nn.functional.linear(inputs, *probe.weights[:2]))
    whole = probe.scores(inputs).item()
    assert whole == pytest.approx(hidden.sum().item(), rel=1e-5)
    draws = [probe.scores(inputs, training=True).item() for _ in range(200)]
    assert np.mean(draws) == pytest.approx(whole, rel=0.01)
    expected = hidden.square().sum().sqrt().item() * math.sqrt(0.2 / 0.8)  # of a sum of Bernoulli draws over 0.8
    assert np.std(draws) == pytest.approx(expected, rel=0.15)
