"""The event model against closed forms, and what must hold for any units, actors and delays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cluster.foretell import planned
from benchmarks.cluster.model import Policy, play
from benchmarks.cluster.schedule import Schedule

FREE = Policy(driver=0.0, latency=0.0)
policies = st.builds(
    Policy,
    queued=st.integers(1, 4),
    calls=st.integers(1, 3),
    driver=st.floats(0, 1),
    latency=st.floats(0, 1),
    write=st.floats(0, 5),
    commit=st.floats(0, 1),
    commit_units=st.integers(1, 10),
    failure=st.sampled_from([0.0, 0.3]),
)
costs = st.lists(st.floats(0.01, 50), min_size=1, max_size=60).map(np.array)
starts = st.lists(st.floats(0, 20), min_size=1, max_size=8).map(np.array)


@given(costs=costs, ready=starts, policy=policies)
def test_nothing_is_lost_nobody_does_two_things_and_nothing_beats_the_ideal(
    costs: np.ndarray, ready: np.ndarray, policy: Policy
) -> None:
    found = play(costs, ready, policy)
    done = found.schedule

    assert (done.ended - done.began).sum() == pytest.approx(costs.sum())
    assert done.seconds >= done.ideal_seconds - 1e-6
    assert (done.began >= ready.min()).all()
    at_once = (done.began[:, None] >= done.began) & (done.began[:, None] < done.ended - 1e-9)
    assert at_once.sum(axis=1).max() <= len(ready)
    commits = len(costs) // policy.commit_units
    assert found.driver_seconds == pytest.approx(len(costs) * policy.driver + commits * policy.commit)


@given(actors=st.integers(1, 20), each=st.integers(1, 10), cost=st.floats(0.1, 100))
def test_equal_units_without_overhead_take_the_ideal_time(actors: int, each: int, cost: float) -> None:
    done = play(np.full(actors * each, cost), np.zeros(actors), FREE).schedule

    assert done.seconds == pytest.approx(each * cost)
    assert done.tail == pytest.approx(1.0)
    assert done.utilisation() == pytest.approx(1.0)


def test_one_unit_too_many_takes_one_more_turn() -> None:
    """ceil(m / n) turns; until 98 % of 9 units on 4 actors all is busy but for the last unit."""
    done = play(np.full(9, 10.0), np.zeros(4), FREE).schedule

    assert done.seconds == pytest.approx(30.0)
    assert done.tail == pytest.approx(30.0 / 22.5)


def test_a_slow_driver_sets_the_pace() -> None:
    """A unit a second however many actors there are; the last one is then computed."""
    found = play(np.full(100, 0.5), np.zeros(50), Policy(driver=1.0, latency=0.0))

    assert found.schedule.seconds == pytest.approx(100.5)
    assert found.driver_cores == pytest.approx(100 / 100.5)


def test_a_queue_hides_the_way_to_the_driver() -> None:
    """With one unit at a time every unit waits for both ways, with three only the first does."""
    alone = play(np.full(10, 1.0), np.zeros(1), Policy(queued=1, driver=0.0, latency=0.25)).schedule
    queue = play(np.full(10, 1.0), np.zeros(1), Policy(queued=3, driver=0.0, latency=0.25)).schedule

    assert alone.seconds == pytest.approx(10 * 1.5)
    assert queue.seconds == pytest.approx(0.5 + 10)


def test_writing_is_hidden_by_a_second_call_only() -> None:
    hidden = play(np.full(10, 1.0), np.zeros(1), Policy(driver=0.0, latency=0.0, write=0.5)).schedule
    shown = play(np.full(10, 1.0), np.zeros(1), Policy(calls=1, driver=0.0, latency=0.0, write=0.5)).schedule

    assert hidden.seconds == pytest.approx(10)
    assert shown.seconds == pytest.approx(10 + 9 * 0.5)


def test_a_lost_unit_is_done_again_after_a_restart() -> None:
    done = play(np.full(4, 2.0), np.zeros(1), Policy(driver=0.0, latency=0.0, failure=1.0, restart=5.0)).schedule

    assert done.seconds == pytest.approx(4 * (1.0 + 5.0 + 2.0))


def test_utilisation_counts_from_the_moment_that_an_actor_is_ready() -> None:
    """Two actors, one of them ready after 5 s, no pause: all used; from the first on, 3 of 4 halves."""
    done = Schedule(np.array([0.0, 5.0]), np.array([0.0, 5.0]), np.array([10.0, 10.0]), np.array([10.0, 5.0]))

    assert done.utilisation() == pytest.approx(1.0)
    assert done.ideal_seconds == pytest.approx(10.0)
    assert done.over_time(2) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(("proteins", "gpus"), [(70_000, 4), (3_000_000, 24), (5_000_000, 2000)])
def test_the_sampled_plan_holds_the_cost_of_all_proteins(proteins: int, gpus: int) -> None:
    lengths = np.random.default_rng(0).integers(50, 800, 1 << 20)

    units = planned(lengths, proteins, gpus, rate=800.0)

    assert units.sum() == pytest.approx(proteins / 800, rel=0.01)
    assert (units > 0).all()
