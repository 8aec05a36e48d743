"""Units hold every protein once, are cut inside windows, and cost about the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.plan.units import cut, unit_seconds

lengths = st.lists(st.integers(1, 3000), min_size=1, max_size=200)


@given(lengths=lengths, window=st.integers(1, 64), target=st.floats(1, 1e5))
def test_every_protein_is_in_exactly_one_unit(lengths: list[int], window: int, target: float) -> None:
    array = np.array(lengths)
    units = list(cut(array, array.astype(float), window, target))

    assert sorted(np.concatenate([u.members for u in units]).tolist()) == list(range(len(lengths)))
    assert len({u.name for u in units}) == len(units)
    for unit in units:
        assert len(unit.members) > 0
        assert {int(m) // window for m in unit.members} == {unit.window}
        assert unit.cost == pytest.approx(array[unit.members].sum())


def test_proteins_of_a_unit_are_sorted_and_costs_even() -> None:
    array = np.random.default_rng(0).integers(30, 600, 4096)
    costs = array.astype(float)

    units = list(cut(array, costs, 4096, costs.sum() / 16))

    assert len(units) == 16
    assert all((np.diff(array[u.members]) >= 0).all() for u in units)
    even = costs.sum() / 16
    assert all(abs(u.cost - even) <= 600 for u in units)  # off by one protein at most


def test_small_jobs_are_cut_finer_so_that_every_actor_gets_several_units() -> None:
    assert unit_seconds(total=1e6, actors=2, at_most=20) == 20
    assert unit_seconds(total=64, actors=2, at_most=20) == 4
    assert unit_seconds(total=0.1, actors=2, at_most=20) == 0.5
