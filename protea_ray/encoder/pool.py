"""From states to vectors, in float32 on the device: aggregate the layers, reduce stretches of residues.

Layers are aggregated inside the layer loop: `mean` over several layers holds one matrix, `concat` one for each
requested layer, and no other state is kept (35M model, three layers: no memory above the model's own, where
`output_hidden_states=True` takes 200 MiB more).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.transfer import to_device


@dataclass(frozen=True)
class LayerView:
    """How a recipe aggregates layers: `states` are forward indices, the one nearest the output first."""

    states: tuple[int, ...]
    concat: bool

    @classmethod
    def of(cls, recipe: EmbeddingConfig, n_layers: int) -> LayerView:
        """The view of a recipe, whose `layers` count from the output; layer_agg `last` needs only the first."""
        states = tuple(n_layers - layer for layer in recipe.layers)
        if recipe.layer_agg == "last":
            states = states[:1]
        return cls(states, recipe.layer_agg == "concat" and len(states) > 1)


class LayerViews:
    """The aggregated matrix (T, width) float32 of each view, filled state by state during the layer loop."""

    def __init__(self, views: Iterable[LayerView]) -> None:
        self.matrices: dict[LayerView, Tensor] = {}
        self._views = tuple(dict.fromkeys(views))
        self.wanted = frozenset(state for view in self._views for state in view.states)

    def add(self, index: int, state: Tensor) -> None:
        """Take in one state, (T, D)."""
        for view in self._views:
            if index in view.states:
                self._aggregate(view, index, state)

    def _aggregate(self, view: LayerView, index: int, state: Tensor) -> None:
        count = len(view.states)
        if count == 1:
            self.matrices[view] = state.float()
        elif view.concat:
            tokens, width = state.shape
            if view not in self.matrices:
                self.matrices[view] = state.new_empty((tokens, count * width), dtype=torch.float32)
            column = view.states.index(index) * width
            self.matrices[view][:, column : column + width] = state
        elif view not in self.matrices:
            self.matrices[view] = state.to(torch.float32, copy=True).div_(count)
        else:
            self.matrices[view].add_(state.float(), alpha=1 / count)


def unit(matrix: Tensor) -> Tensor:
    """Rows of Euclidean length 1; rows of zeros stay zeros."""
    return F.normalize(matrix, dim=1)


@dataclass(frozen=True)
class Sums:
    """Reductions of k stretches of rows, float32 on the device: `total`, `peak`, `spread` are (k, width).

    `spread` is the sum of squared deviations from the stretch's own mean, so that stretches of one span can be
    combined without cancellation (Chan et al. 1979). `peak` and `spread` are None where no pooling needs them.
    """

    total: Tensor
    peak: Tensor | None
    spread: Tensor | None


def reduce(matrix: Tensor, stretches: Sequence[tuple[int, int]], peak: bool, spread: bool) -> Sums:
    """Sum, maximum and squared deviation of stretches [start, end) of rows of `matrix` (T, width) float32."""
    if matrix.is_cuda:
        return _segments(matrix, stretches, peak, spread)
    rows = [matrix[start:end] for start, end in stretches]
    total = torch.stack([x.sum(0) for x in rows])
    highest = torch.stack([x.amax(0) for x in rows]) if peak else None
    deviation = torch.stack([(x - x.mean(0)).square_().sum(0) for x in rows]) if spread else None
    return Sums(total, highest, deviation)


def _segments(matrix: Tensor, stretches: Sequence[tuple[int, int]], peak: bool, spread: bool) -> Sums:
    """`reduce` in three kernels, where one call for each stretch would take three a stretch.

    `segment_reduce` is deterministic, unlike `index_add_` on CUDA. `unsafe` leaves out a check of the lengths, and
    `output_size` a sum over them; both would wait for the device.
    """
    count = np.array([end - start for start, end in stretches])
    lengths = to_device(count, matrix.device)
    x = matrix.index_select(0, to_device(np.concatenate([np.arange(*stretch) for stretch in stretches]), matrix.device))
    total = torch.segment_reduce(x, "sum", lengths=lengths, axis=0, unsafe=True)
    highest = torch.segment_reduce(x, "max", lengths=lengths, axis=0, unsafe=True) if peak else None
    deviation = None
    if spread:
        mean = (total / lengths[:, None]).repeat_interleave(lengths, 0, output_size=len(x))
        deviation = torch.segment_reduce((x - mean).square_(), "sum", lengths=lengths, axis=0, unsafe=True)
    return Sums(total, highest, deviation)


def finite_rows(matrix: Tensor) -> Tensor:
    """(T,) booleans on the device: every number of the row is finite."""
    return torch.isfinite(matrix).all(1)
