import numpy as np
import pytest
import torch

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.pool import LayerView, LayerViews, _segments, finite_rows, reduce, unit


def view(layers, how):
    return LayerView.of(EmbeddingConfig(model="m", layers=layers, layer_agg=how), 6)


def test_layers_count_from_the_output_and_last_needs_one_state():
    assert view((0, 2), "mean") == LayerView((6, 4), False)
    assert view((0, 2), "concat") == LayerView((6, 4), True)
    assert view((1, 2), "last") == LayerView((5,), False)
    assert view((3,), "concat") == view((3,), "mean")


def test_only_requested_states_are_held():
    wanted = [view((0,), "mean"), view((0, 1, 2), "mean"), view((1, 5), "concat")]
    views = LayerViews(wanted)
    assert views.wanted == {6, 5, 4, 1}
    draw = torch.Generator().manual_seed(0)
    states = {index: torch.randn(7, 3, generator=draw) for index in range(7)}
    copies = {index: state.clone() for index, state in states.items()}
    for index, state in states.items():
        views.add(index, state)
    assert [matrix.shape for matrix in views.matrices.values()] == [(7, 6), (7, 3), (7, 3)]
    assert torch.equal(views.matrices[wanted[0]], states[6])
    assert torch.allclose(views.matrices[wanted[1]], torch.stack([states[i] for i in (4, 5, 6)]).mean(0), atol=1e-6)
    assert torch.equal(views.matrices[wanted[2]], torch.cat([states[5], states[1]], 1))
    assert all(torch.equal(states[i], copies[i]) for i in states)  # the model still needs them as they were


def test_half_precision_states_are_aggregated_in_float32():
    views = LayerViews([view((0, 1), "mean")])
    a, b = (torch.full((1, 1), value, dtype=torch.bfloat16) for value in (256.0, 1.0))
    views.add(5, a)
    views.add(6, b)
    assert views.matrices[view((0, 1), "mean")].item() == 128.5


@pytest.mark.parametrize("peak", [True, False])
@pytest.mark.parametrize("spread", [True, False])
def test_both_reductions_agree_on_overlapping_stretches(peak, spread):
    matrix = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 3 + 100
    stretches = [(0, 50), (3, 4), (10, 30), (20, 45)]
    sums = reduce(matrix, stretches, peak, spread)
    other = _segments(matrix, stretches, peak, spread)
    rows = [matrix[start:end].double().numpy() for start, end in stretches]
    assert np.allclose(sums.total, [x.sum(0) for x in rows], rtol=1e-6)
    assert np.allclose(other.total, sums.total, rtol=1e-6)
    for name, expected, asked in (
        ("peak", [x.max(0) for x in rows], peak),
        ("spread", [x.var(0) * len(x) for x in rows], spread),
    ):
        mine, theirs = getattr(sums, name), getattr(other, name)
        assert (mine is None) == (theirs is None) == (not asked)
        if asked:
            assert np.allclose(mine, expected, rtol=1e-5, atol=1e-5)
            assert np.allclose(theirs, expected, rtol=1e-5, atol=1e-5)


def test_unit_rows_and_rows_of_zeros():
    rows = unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    assert torch.allclose(rows, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_a_row_is_finite_only_if_all_of_it_is():
    matrix = torch.ones(3, 2)
    matrix[1, 0], matrix[2, 1] = float("nan"), -float("inf")
    assert finite_rows(matrix).tolist() == [True, False, False]
