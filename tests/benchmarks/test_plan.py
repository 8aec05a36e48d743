"""The benchmark of the plan makes the keys that it says, and counts every protein."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.plan import SPACE, exponent, keys_of, make_store, measure
from protea_ray.config.run import RunOptions
from protea_ray.store.location import open_location
from protea_ray.store.tables import open_table


def test_a_tenth_of_the_keys_came_before_across_any_cut() -> None:
    keys = [bytes(key) for key in keys_of(0, 1000)]
    assert len(set(keys)) == 900
    assert [bytes(key) for key in keys_of(400, 200)] == keys[400:600]


def test_an_exponent_is_the_slope() -> None:
    assert exponent([10, 100, 1000], [3.0, 30.0, 300.0]) == pytest.approx(1.0)
    assert exponent([10, 100, 1000], [5.0, 5.0, 5.0]) == pytest.approx(0.0)
    assert np.isnan(exponent([10], [1.0]))


@pytest.mark.slow
def test_a_store_of_random_keys_is_planned(tmp_path: Path, cluster: None) -> None:
    """Of 5,000 records the first half is held; of the others those are wanted whose key does not come earlier."""
    location = open_location(tmp_path / "store")
    make_store(location, 5000, 0.5)
    assert open_table(location.table(SPACE)).count_rows() == 2500
    numbers = np.arange(5000)
    firsts = np.where((numbers % 10 == 9), numbers // 20 * 10, numbers)
    found = measure(location, 5000, RunOptions())
    assert found.wanted == len({n for n in firsts[2500:].tolist() if n >= 2500})
    assert found.units >= 1 and found.worker > 50 << 20 and found.driver > 50 << 20
