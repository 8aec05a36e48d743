"""Groups by length: names of subsets, their words and their order, and ends that are none."""

from __future__ import annotations

from typing import Any

import pytest

from protea_ray.config.length_groups import (
    LENGTHS,
    group_in_words,
    length_subsets,
    lengths_problem,
    read_lengths,
    shortest_of,
)
from protea_ray.errors import ConfigError


def test_the_usual_names_are_those_of_stored_results() -> None:
    assert list(length_subsets(LENGTHS)) == ["up_to_1022", "1023_to_2046", "above_2046"]
    assert length_subsets((100,)) == {"up_to_100": (1, 100), "above_100": (101, None)}


def test_groups_have_no_gap_and_are_in_order_of_length() -> None:
    groups = length_subsets((254, 510, 2000))
    assert [longest for _, longest in groups.values()] == [254, 510, 2000, None]
    assert [shortest for shortest, _ in groups.values()] == [1, 255, 511, 2001]
    assert sorted(sorted(groups), key=shortest_of) == list(groups)
    assert [group_in_words(name) for name in groups] == ["up to 254", "255 to 510", "511 to 2,000", "above 2,000"]
    assert group_in_words("without_relatives") is None


@pytest.mark.parametrize("given", ["", "254,", "510,254", "254,254", "0,254", "254,x", "-3", [1.5], [], [True], None])
def test_ends_that_are_no_rising_numbers_are_refused(given: Any) -> None:
    assert "such as 254,510" in lengths_problem(given)
    with pytest.raises(ConfigError, match="--lengths"):
        read_lengths(given, "--lengths")
