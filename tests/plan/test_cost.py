"""The cost model counts the operations that its docstring says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.config.attention_forms import attention_variant
from protea_ray.plan.cost import Cost, keys_seen, transformer_cost


def test_esm2_counts_match_the_closed_form() -> None:
    # MACs of one layer: 4 D^2 for q, k, v, o and 8 D^2 for the two FFN matrices; attention 2 L D
    layers, width, length = 6, 320, 300
    by_hand = layers * (24 * width**2 * length + 4 * width * length**2)

    cost = transformer_cost(layers, width, width, 4 * width)

    assert cost.of(np.array([length]))[0] == pytest.approx(by_hand)


def test_windows_cost_their_overlap_again_and_truncation_costs_nothing_more() -> None:
    windowed = Cost(1.0, 0.0, max_residues=100, overlap=50)
    truncated = Cost(1.0, 0.0, max_residues=100, overlap=50, truncates=True)

    assert windowed.of(np.array([100, 1000])).tolist() == [100.0, 2000.0]
    assert truncated.of(np.array([100, 1000])).tolist() == [100.0, 100.0]


@given(
    linear=st.floats(1e-6, 1e-2),
    quadratic=st.floats(1e-9, 1e-4),
    short=st.integers(20, 200),
    long=st.integers(500, 2000),
)
def test_two_lengths_give_both_terms(linear: float, quadratic: float, short: int, long: int) -> None:
    true = Cost(linear, quadratic)
    samples = [(np.full(n, length), float(true.of(np.full(n, length)).sum())) for n, length in ((7, short), (2, long))]

    found = Cost(3.0, 1.0).fitted(samples)

    assert found.linear == pytest.approx(linear, rel=1e-4)
    assert found.quadratic == pytest.approx(quadratic, rel=1e-4)


def test_one_length_scales_the_shape() -> None:
    lengths = np.array([10, 10])
    found = Cost(2.0, 0.5).fitted([(lengths, 3.0)])

    assert found.of(lengths).sum() == pytest.approx(3.0)
    assert found.quadratic / found.linear == pytest.approx(0.25)


def test_times_that_would_make_long_proteins_cheaper_per_residue_scale_the_shape() -> None:
    """Noise: ten times the residues in nine times the seconds."""
    found = Cost(2.0, 0.5).fitted([(np.array([100]), 1.0), (np.array([1000]), 9.0)])

    assert found.linear > 0
    assert found.quadratic / found.linear == pytest.approx(0.25)
    assert found.of(np.array([100, 1000])).sum() == pytest.approx(10.0)


def test_attention_to_few_keys_costs_no_square() -> None:
    cost = Cost(1.0, 2.0, keys=10)
    assert cost.of(np.array([4, 10, 100])).tolist() == [4 + 2 * 16, 10 + 2 * 100, 100 + 2 * 1000]
    windowed = Cost(1.0, 2.0, max_residues=100, overlap=50, keys=10)
    assert windowed.of(np.array([1000])).tolist() == [(1 + 2 * 10) * 2000]


@pytest.mark.parametrize(
    ("form", "keys"),
    [("exact", None), ("local:5", 11), ("global:5", 15), ("bigbird:8,3,1,2,0", 8 * 7 + 16), ("nystrom:64", 160),
     ("favor:128,0", 256), ("hedgehog", 48)],
)  # fmt: skip
def test_keys_of_each_attention(form: str, keys: int | None) -> None:
    assert keys_seen(attention_variant(form), head_dim=16) == keys
