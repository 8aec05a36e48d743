"""The cost model counts the operations that its docstring says."""

from __future__ import annotations

import numpy as np
import pytest

from protea_ray.plan.cost import Cost, transformer_cost


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


def test_timing_scales_both_terms() -> None:
    cost = Cost(2.0, 0.5).timed(seconds=3.0, residues=np.array([10, 20]))

    assert cost.of(np.array([10, 20])).sum() == pytest.approx(3.0)
    assert cost.quadratic / cost.linear == pytest.approx(0.25)
