"""Counts and the time left, against simulated work whose end is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protea_ray.cluster.meter import TimeLeft, WorkMeter, fitting
from tests.clock import Clock

STEPS = 1_000


def constant(share: float) -> float:
    return 1.0


def slow_start(share: float) -> float:
    return 10.0 if share < 0.02 else 1.0


def half_the_rate(share: float) -> float:
    return 1.0 if share < 0.5 else 2.0


def uneven(share: float) -> float:
    return 1.6 if int(share * STEPS) % 7 < 3 else 0.55


def foretold(cost: Callable[[float], float], at: float) -> float:
    """What is foretold to be left after a share of the work, by what is really left."""
    clock = Clock(50.0)
    left = TimeLeft(clock)
    costs = [cost(step / STEPS) for step in range(STEPS)]
    done = int(at * STEPS)
    for step in range(done):
        clock.now += costs[step]
        left.reached((step + 1) / STEPS)
    seconds = left.seconds()
    assert seconds is not None
    return seconds / sum(costs[done:])


@pytest.mark.parametrize("at", [0.01, 0.1, 0.5, 0.9])
def test_work_of_one_rate_is_foretold_exactly(at: float) -> None:
    assert foretold(constant, at) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("cost", "at", "factor"),
    [
        (slow_start, 0.1, 1.1),
        (slow_start, 0.3, 1.05),
        (half_the_rate, 0.75, 1.05),
        (uneven, 0.1, 1.25),
        (uneven, 0.5, 1.1),
    ],
)
def test_work_of_another_rate_is_foretold_within_a_factor(
    cost: Callable[[float], float], at: float, factor: float
) -> None:
    assert 1 / factor <= foretold(cost, at) <= factor


def test_a_silence_counts_down_and_not_below_zero() -> None:
    clock = Clock(0.0)
    left = TimeLeft(clock)
    clock.now += 10
    left.reached(0.5)
    clock.now += 4
    assert left.seconds() == pytest.approx(6.0)
    clock.now += 60
    assert left.seconds() == 0.0


def test_nothing_is_foretold_before_anything_is_done() -> None:
    assert TimeLeft(Clock(0.0)).seconds() is None


def test_work_without_a_total_has_counts_and_a_rate() -> None:
    clock = Clock(0.0)
    meter = WorkMeter("importing v.h5", "vectors", None, clock)
    clock.now += 2
    meter.advance(500)
    assert meter.line() == "importing v.h5  500 vectors  250 vectors/s"
    assert meter.fraction is None and not meter.finished


def test_work_with_a_total_says_what_is_left_until_it_is_finished() -> None:
    clock = Clock(0.0)
    meter = WorkMeter("checking s", "rows", 400, clock)
    clock.now += 5
    meter.advance(100)
    assert meter.line() == "checking s  25 %  100/400 rows  20 rows/s  0:15 left"
    meter.advance(100, seconds_left=90.0)
    assert meter.line().endswith("1:30 left")
    meter.advance(200)
    assert meter.finished and "left" not in meter.line()


def test_a_narrow_line_keeps_what_matters_most() -> None:
    words = [(3, "text"), (0, "25 %"), (2, "100/400 rows"), (4, "20 rows/s"), (1, "0:15 left")]
    assert fitting(words, 60) == "text  25 %  100/400 rows  20 rows/s  0:15 left"
    assert fitting(words, 30) == "25 %  100/400 rows  0:15 left"
    assert fitting(words, 5) == "25 %"
