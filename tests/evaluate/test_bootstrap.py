"""Draws of proteins, exact sums over them, intervals, and paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from protea_ray.evaluate import bootstrap
from protea_ray.evaluate.bootstrap import draws, interval, paired, weighted_sums


def test_a_draw_holds_as_many_proteins_as_there_are() -> None:
    (weights,) = draws("task", "all", 50, 400)
    assert weights.shape == (400, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert (weights == np.round(weights)).all()
    never = (weights == 0).mean()  # (1 - 1 / 50) ** 50 of the proteins are not in a draw
    assert never == pytest.approx(0.98**50, abs=4 * np.sqrt(0.36 * 0.64 / 20_000))


def test_draws_follow_from_the_task_and_the_subset_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(draws("task", "all", 30, 20)))
    assert (np.concatenate(list(draws("task", "all", 30, 20))) == whole).all()
    assert (np.concatenate(list(draws("task", "above_2046", 30, 20))) != whole).any()
    assert (np.concatenate(list(draws("other", "all", 30, 20))) != whole).any()
    monkeypatch.setattr(bootstrap, "BLOCK", 100)  # three draws at a time, and the last two
    blocks = list(draws("task", "all", 30, 20))
    assert [len(b) for b in blocks] == [3] * 6 + [2]
    assert (np.concatenate(blocks) == whole).all()


def test_sums_are_the_same_to_the_bit_in_any_order_of_the_proteins() -> None:
    draw = np.random.default_rng(0)
    weights, parts = draw.integers(0, 4, (50, 999)).astype(float), draw.lognormal(0, 3, (999, 7))
    sums = weighted_sums(weights, parts)
    assert sums == pytest.approx(weights @ parts, rel=1e-9)
    for _ in range(5):
        order = draw.permutation(999)
        assert (weighted_sums(weights[:, order], parts[order]) == sums).all()
    assert (weighted_sums(weights, np.zeros((999, 2))) == np.zeros((50, 2))).all()
    assert weighted_sums(weights[:, :0], parts[:0]).shape == (50, 7)


def test_the_interval_is_of_the_mean_over_seeds() -> None:
    draw = np.random.default_rng(1)
    resampled = draw.normal(0.6, 0.05, (5, 1000)).astype(np.float32)
    expected = np.percentile(resampled.astype(float).mean(axis=0), [2.5, 97.5])
    assert interval(resampled) == pytest.approx(tuple(expected))
    assert interval(resampled[0]) == pytest.approx(tuple(np.percentile(resampled[0], [2.5, 97.5])), rel=1e-5)
    holes = resampled.copy()
    holes[2, :100] = np.nan  # of one seed; the others' values of these draws are left out with it
    assert interval(holes) == pytest.approx(
        tuple(np.percentile(holes[:, 100:].astype(float).mean(axis=0), [2.5, 97.5]))
    )
    assert np.isnan(interval(np.full((5, 10), np.nan))).all()


def test_a_paired_difference_is_that_of_the_same_draws() -> None:
    draw = np.random.default_rng(2)
    hard = draw.normal(0, 0.1, 1000)  # which proteins a draw holds moves both alike
    theirs = 0.5 + hard + draw.normal(0, 0.001, (5, 1000))
    ours = theirs.mean(axis=0) + 0.02 + draw.normal(0, 0.001, (3, 1000))
    found = paired(ours, theirs)
    assert found.difference == pytest.approx(0.02, abs=0.001)
    assert 0.015 < found.low < found.difference < found.high < 0.025
    low, high = interval(ours)
    assert high - low > 20 * (found.high - found.low)
    assert paired(theirs, theirs) == (0, 0, 0)
    assert paired(theirs, ours).difference == pytest.approx(-found.difference)


def test_a_difference_is_not_defined_without_shared_draws() -> None:
    assert np.isnan(paired(np.full((2, 9), np.nan), np.ones((2, 9)))).all()
    some = np.ones((2, 9))
    some[0, :5] = np.nan
    assert paired(some, np.zeros((2, 9))) == (1, 1, 1)
    with pytest.raises(ValueError, match="100 draws cannot be paired with 9"):
        paired(np.ones((2, 100)), np.ones((2, 9)))
