import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protea_ray.plan.pack import micro_batches

counts = st.lists(st.integers(1, 4000), max_size=200)


@settings(max_examples=200, deadline=None)
@given(tokens=counts, budget=st.integers(1, 5000))
def test_every_index_is_packed_exactly_once_within_the_budget(tokens, budget):
    packs = micro_batches(tokens, budget)
    assert sorted(index for pack in packs for index in pack) == list(range(len(tokens)))
    for pack in packs:
        assert sum(tokens[i] for i in pack) <= budget or len(pack) == 1


@settings(max_examples=50, deadline=None)
@given(tokens=counts, budget=st.integers(1, 5000))
def test_the_same_items_give_the_same_packs(tokens, budget):
    assert micro_batches(tokens, budget) == micro_batches(list(tokens), budget)


def test_packs_of_real_lengths_are_nearly_full():
    draw = random.Random(0)
    tokens = [min(2000, max(30, int(draw.lognormvariate(5.7, 0.7)))) for _ in range(4096)]
    packs = micro_batches(tokens, 1024)
    used = sum(t for t in tokens if t <= 1024)
    regular = sum(1 for pack in packs if tokens[pack[0]] <= 1024)
    assert used / (regular * 1024) > 0.97


def test_no_items_and_no_budget():
    assert micro_batches([], 10) == []
    with pytest.raises(ValueError, match="budget 0"):
        micro_batches([1], 0)
