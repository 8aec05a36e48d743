"""Units hold every protein once, are cut inside windows, and cost about the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.plan.units import MOST_PROTEINS, UNITS_PER_SECOND, Sizes, cut

lengths = st.lists(st.integers(1, 3000), min_size=1, max_size=200)


@given(lengths=lengths, window=st.integers(1, 64), seconds=st.floats(1, 1e5), actors=st.integers(1, 3000))
def test_every_protein_is_in_exactly_one_unit(lengths: list[int], window: int, seconds: float, actors: int) -> None:
    array = np.array(lengths)
    units = list(cut(array, array.astype(float), window, Sizes(seconds, actors)))

    assert sorted(np.concatenate([u.members for u in units]).tolist()) == list(range(len(lengths)))
    assert len({u.name for u in units}) == len(units)
    for unit in units:
        assert len(unit.members) > 0
        assert {int(m) // window for m in unit.members} == {unit.window}
        assert unit.cost == pytest.approx(array[unit.members].sum())


def test_proteins_of_a_unit_are_sorted_and_costs_even() -> None:
    array = np.random.default_rng(0).integers(30, 600, 65536)
    costs = array.astype(float)

    units = list(cut(array, costs, 4096, Sizes(costs[:4096].sum() / 16, 1)))

    assert all((np.diff(array[u.members]) >= 0).all() for u in units)
    first = [u for u in units if u.window == 0]
    assert len(first) == 16
    even = costs[:4096].sum() / 16
    assert all(abs(u.cost - even) <= 600 for u in first)  # off by one protein at most


def test_units_shrink_towards_the_end_so_that_actors_end_together() -> None:
    costs = np.full(100_000, 0.01)
    sizes = Sizes(20, 4)
    units = list(cut(np.full(100_000, 300), costs, 4096, sizes))

    left = 1000.0
    for unit in units:
        assert unit.cost <= min(20, max(0.5, left / 16)) * 2  # even cuts of what is left of a window: up to twice
        left -= unit.cost
    assert units[0].cost == pytest.approx(20, rel=0.1)
    assert units[-1].cost == pytest.approx(0.5, rel=0.2)


def test_small_jobs_are_cut_finer_so_that_every_actor_gets_several_units() -> None:
    sizes = Sizes(seconds=20, actors=2)

    assert sizes.next(1e6) == 20
    assert sizes.next(64) == 8
    assert sizes.next(0.1) == 0.5
    assert Sizes(seconds=0.05, actors=2).next(1e6) == 0.05


@given(actors=st.integers(21, 10_000), left=st.floats(0, 1e9))
def test_many_actors_do_not_ask_for_more_units_than_the_driver_can_send(actors: int, left: float) -> None:
    sizes = Sizes(20, actors)
    mean = 1e-3
    window = sizes.window(4096, mean)

    assert actors / sizes.next(left) <= UNITS_PER_SECOND + 1e-9
    assert window == 4096 or window == MOST_PROTEINS or window * mean == pytest.approx(sizes.largest, rel=1e-3)


def test_few_actors_keep_the_window_that_was_asked_for() -> None:
    assert Sizes(0.02, 2).window(16, 1e-6) == 16
