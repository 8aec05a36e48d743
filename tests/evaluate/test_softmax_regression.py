"""Regressions that are trained side by side, against torch's own layer, loss, gradient and optimiser one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn import functional as F

from protea_ray.evaluate.softmax_regression import Scale, SoftmaxRegressions, padded_columns

CLASSES, BATCH = 3, 64


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def data(width: int, rows: int = 330) -> tuple[np.ndarray, torch.Tensor]:
    rng = np.random.default_rng(width)
    return rng.normal(size=(rows, width)).astype(np.float32), torch.from_numpy(rng.integers(0, CLASSES, rows))


def scaled(values: np.ndarray) -> torch.Tensor:
    width = values.shape[1]
    return Scale(torch.zeros(width), torch.ones(width)).rows([values])


def orders(seeds: Sequence[int], rows: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.random.default_rng(100 + s).permutation(rows) for s in seeds]))


def trained(seeds: Sequence[int], width: int, passes: int = 2) -> SoftmaxRegressions:
    values, states = data(width)
    fits = SoftmaxRegressions([np.random.default_rng(s) for s in seeds], width, CLASSES, 1e-2)
    for _ in range(passes):
        fits.train(scaled(values), states, orders(seeds, len(values)), BATCH)
    return fits


def test_weights_are_those_of_torchs_linear_layer_under_its_own_gradient() -> None:
    """Rows of the first pass are larger: only then does the largest past gradient, AMSGrad's, differ from a mean."""
    values, states = data(20)
    passes, seeds = [10.0 * values, *[values] * 9], [0, 1, 2]
    fits = SoftmaxRegressions([np.random.default_rng(s) for s in seeds], 20, CLASSES, 1e-2)
    begun = fits.weights.clone()
    for rows in passes:
        fits.train(scaled(rows), states, orders(seeds, len(values)), BATCH)
    for at, order in enumerate(orders(seeds, len(values))):
        layer = torch.nn.Linear(20, CLASSES)
        with torch.no_grad():
            layer.weight.copy_(begun[at, :, :20])
            layer.bias.copy_(begun[at, :, 20])
        optimiser = torch.optim.Adam(layer.parameters(), lr=1e-2, amsgrad=True)
        for rows in passes:
            for taken in order.split(BATCH):
                optimiser.zero_grad()
                F.cross_entropy(layer(torch.from_numpy(rows)[taken]), states[taken]).backward()
                optimiser.step()
        assert torch.allclose(fits.weights[at, :, :20], layer.weight, atol=1e-5)
        assert torch.allclose(fits.weights[at, :, 20], layer.bias, atol=1e-5)
        assert not fits.weights[at, :, 21:].any()
    assert not torch.allclose(fits.weights[0], begun[0], atol=1e-2)


@pytest.mark.parametrize("width", [7, 40, 300])
def test_a_regression_is_the_same_to_the_bit_whichever_are_trained_beside_it(width: int) -> None:
    together = trained([0, 1, 2, 3, 4], width).weights
    for seed in (0, 3):
        assert torch.equal(trained([seed], width).weights[0], together[seed])
    assert torch.equal(trained([3, 1], width).weights, together[[3, 1]])
    assert not torch.equal(together[0], together[1])


def test_losses_are_sums_of_the_cross_entropy_with_the_weights_of_now() -> None:
    values, states = data(20, 5000)
    fits = trained([0, 1], 20)
    for loss, weights in zip(fits.losses(scaled(values), states), fits.weights.numpy(), strict=True):
        scores = values @ weights[:, :20].T.astype(np.float64) + weights[:, 20]
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        assert loss == pytest.approx(log_loss(states, shares, normalize=False), rel=1e-5)


def test_predictions_are_those_of_the_weights_that_were_kept() -> None:
    values, states = data(20)
    fits = trained([0, 1], 20, passes=1)
    fits.keep(np.array([True, False]))
    kept = fits.weights[0].clone()
    fits.train(scaled(values), states, orders([0, 1], len(values)), BATCH)
    expected = (scaled(values) @ kept.T).argmax(1).numpy()
    assert (fits.predicted(0, scaled(values)) == expected).all()
    begun = SoftmaxRegressions([np.random.default_rng(1)], 20, CLASSES, 1e-2)
    assert torch.equal(fits.best[1], begun.weights[0])


def test_rows_are_standardised_with_a_constant_for_the_bias() -> None:
    parts = [np.arange(6, dtype=np.float16).reshape(2, 3), np.full((1, 3), 7, np.float16)]
    rows = Scale(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 1.0, 4.0])).rows(parts)
    expected = (np.concatenate(parts).astype(np.float64) - [1, 2, 3]) / [2, 1, 4]
    assert rows.shape == (3, padded_columns(3)) == (3, 16)
    assert np.allclose(rows[:, :3], expected)
    assert (rows[:, 3] == 1).all()
    assert not rows[:, 4:].any()
