"""Exponents of length, against scipy's regression and laws that are known."""

from __future__ import annotations

import numpy as np
import pytest

from protea_ray.comparison.exponents import fit_exponent

LENGTHS = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 35_213]


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5, 2.0])
def test_a_law_is_found_and_predicts(exponent: float) -> None:
    found = fit_exponent(LENGTHS, [3e-4 * n**exponent for n in LENGTHS])
    assert found is not None
    assert found.value == pytest.approx(exponent, abs=1e-9)
    assert found.standard_error == pytest.approx(0, abs=1e-7)
    assert found.predicted(100_000) == pytest.approx(3e-4 * 100_000**exponent)


def test_slope_and_error_are_those_of_a_regression_through_the_upper_half() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    noise = np.random.default_rng(1).normal(0, 0.2, len(LENGTHS))
    values = [float(1e-6 * n**1.7 * np.exp(e)) for n, e in zip(LENGTHS, noise, strict=True)]
    found = fit_exponent(LENGTHS, values)
    wanted = scipy_stats.linregress(np.log(LENGTHS[4:]), np.log(values[4:]))
    assert found is not None
    assert found.points == 4
    assert (found.value, found.standard_error) == pytest.approx((wanted.slope, wanted.stderr))
    assert found.intercept == pytest.approx(wanted.intercept)


def test_short_proteins_do_not_hide_the_growth_of_long_ones() -> None:
    """A start of 1 s that every length pays hides a square: over all lengths it looks like less than 0.8."""
    values = [1.0 + 1e-8 * n**2 for n in LENGTHS]
    upper, every = fit_exponent(LENGTHS, values), np.polyfit(np.log(LENGTHS), np.log(values), 1)[0]
    assert upper is not None
    assert every < 0.8
    assert 1.4 < upper.value < 2.0


def test_the_order_of_the_lengths_does_not_matter() -> None:
    values = [1.0 + 1e-8 * n**2 for n in LENGTHS]
    assert fit_exponent(LENGTHS[::-1], values[::-1]) == fit_exponent(LENGTHS, values)


def test_what_was_not_measured_is_left_out() -> None:
    """Of eight lengths five have a value above 0: the upper three of those make the line."""
    values = [1.0, None, 4.0, 0.0, 16.0, 32.0, 64.0, None]
    found = fit_exponent(LENGTHS, values)
    assert found is not None
    assert (found.points, found.value) == (3, pytest.approx(1.0))


@pytest.mark.parametrize(
    ("lengths", "values"), [([512, 1024], [1.0, 2.0]), ([512] * 3, [1.0, 2.0, 3.0]), (LENGTHS, [None] * 8), ([], [])]
)
def test_too_little_to_fit(lengths: list[int], values: list[float | None]) -> None:
    assert fit_exponent(lengths, values) is None
