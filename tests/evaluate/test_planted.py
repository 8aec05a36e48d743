"""What the whole way from vectors to intervals must and must not find, on made data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from protea_ray.evaluate.bootstrap import paired
from protea_ray.evaluate.controls import random_vectors
from protea_ray.evaluate.metrics import measure
from protea_ray.evaluate.probe import predictions
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import CLASSIFICATION, HEADLINE
from tests.evaluate.numbered_tasks import classes, halves, made_task

PROTEINS, WIDTH, SEEDS = 800, 16, 2
PROTOCOL = Protocol(hidden=16, resamples=200)
TARGETS, VECTORS = classes(PROTEINS, WIDTH, signal=1.0)
TASK = made_task(CLASSIFICATION, TARGETS, halves(PROTEINS), ("a", "b", "c"))
PROBES = ("linear", "mlp")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def resampled(features: np.ndarray, metric: str = HEADLINE[TASK.kind]) -> dict[str, np.ndarray]:
    """(seeds, resamples) of a metric over all tested proteins, by probe."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in PROBES}
    for seed in range(SEEDS):
        for name, scores in predictions(TASK, features, seed, PROTOCOL).items():
            measures = measure(TASK, scores, PROTOCOL.resamples)
            found[name] += [m.resampled for m in measures if (m.subset, m.metric) == ("all", metric)]
    return {name: np.stack(rows) for name, rows in found.items()}


@pytest.fixture(scope="module")
def honest() -> dict[str, np.ndarray]:
    return resampled(VECTORS)


def test_a_leak_is_found(honest: dict[str, np.ndarray]) -> None:
    """The label is added to three axes of 16, weakly: half a standard deviation of what is there."""
    leaking = VECTORS.copy()
    leaking[:, 8:11] += 0.5 * np.eye(3, dtype=np.float32)[TARGETS]
    found = resampled(leaking)
    for probe in PROBES:
        above = paired(found[probe], honest[probe])
        assert 0 < above.low < above.difference < 0.15, probe


def test_vectors_of_other_proteins_are_not_above_random_ones() -> None:
    """By MCC, which is 0 both for guesses and for one class alone. Macro-F1 is a third for the one and a sixth for the
    other, so among inputs that say nothing it tells who guesses.
    """
    shuffled = resampled(VECTORS[np.random.default_rng(0).permutation(PROTEINS)], "mcc")
    noise = resampled(random_vectors(TASK.keys, WIDTH), "mcc")
    whole = resampled(VECTORS, "mcc")
    for probe in PROBES:
        assert paired(shuffled[probe], noise[probe]).low <= 0, probe
        assert paired(whole[probe], noise[probe]).low > 0.1, probe


def test_a_tie_is_no_difference(honest: dict[str, np.ndarray]) -> None:
    """The same vectors under another name are equal to the bit, and turned in space they hold the same."""
    again = resampled(VECTORS.copy())
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(WIDTH, WIDTH)))
    turned = resampled((VECTORS @ turn).astype(np.float32))
    for probe in PROBES:
        assert np.array_equal(again[probe], honest[probe])
        found = paired(turned[probe], honest[probe])
        assert found.low <= 0 <= found.high, probe
