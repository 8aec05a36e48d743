"""Softmax regressions, one a seed, trained side by side on the same rows: each has its own weights and order of rows.

The gradient of the mean cross-entropy is X^T (P - Y) / n, so no graph is recorded: a step of five regressions on 64
rows of 320 columns takes 0.16 ms of one core. A regression's numbers are the same to the bit whichever others are
trained beside it: matrices begin at 64 bytes, where every library takes the same path through a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_ALIGNED = 16  # single-precision columns in 64 bytes
_JUDGED_ROWS = 4096  # scored at a time


def padded_columns(width: int) -> int:
    """Columns of `width` features, the constant 1 that stands for the bias, and zeros up to whole 64 bytes."""
    return -(-(width + 1) // _ALIGNED) * _ALIGNED


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each feature over the training rows, (width,) float32; of a constant one, 1."""

    mean: Tensor
    deviation: Tensor

    def rows(self, parts: Sequence[np.ndarray]) -> Tensor:
        """Standardised rows of all parts, (rows, padded_columns(width)) float32."""
        width = len(self.mean)
        made = torch.zeros(sum(map(len, parts)), padded_columns(width))
        made[:, width] = 1.0
        first = 0
        for part in parts:
            own = torch.from_numpy(part).float()
            torch.div(own.sub(self.mean), self.deviation, out=made[first : first + len(part), :width])
            first += len(part)
        return made


class SoftmaxRegressions:
    """`weights` (seeds, classes, columns) are those of now; `best` those of the epoch with the lowest loss, by seed.

    Adam with AMSGrad, as biotrainer trains its LogReg (Reddi et al. 2018, arXiv:1904.09237), no weight decay.
    """

    def __init__(self, rngs: Sequence[np.random.Generator], width: int, classes: int, learning_rate: float) -> None:
        self.weights = torch.stack([_initial(rng, width, classes) for rng in rngs])
        self.best = self.weights.clone()
        self._optimiser = torch.optim.Adam([self.weights], lr=learning_rate, amsgrad=True, fused=True)

    @torch.no_grad()
    def train(self, rows: Tensor, states: Tensor, order: Tensor, batch_size: int) -> None:
        """One pass over `rows` (n, columns) with `states` (n,), which each regression takes in its row of `order`
        (seeds, n)."""
        seeds, classes, columns = self.weights.shape
        truth = F.one_hot(states, classes).float()
        for taken in order.split(batch_size, dim=1):
            size, flat = taken.shape[1], taken.flatten()
            some = rows.index_select(0, flat).view(seeds, size, columns)
            error = torch.bmm(some, self.weights.transpose(1, 2)).softmax(2)
            error.sub_(truth.index_select(0, flat).view(seeds, size, classes)).div_(size)
            self.weights.grad = torch.bmm(error.transpose(1, 2), some)
            self._optimiser.step()

    @torch.no_grad()
    def losses(self, rows: Tensor, states: Tensor) -> np.ndarray:
        """(seeds,) float64: sum over rows of the cross-entropy with the weights of now."""
        sums = np.zeros(len(self.weights))
        for seed, own in enumerate(self.weights):
            for some, truth in zip(rows.split(_JUDGED_ROWS), states.split(_JUDGED_ROWS), strict=True):
                sums[seed] += F.cross_entropy(some @ own.T, truth, reduction="none").sum(dtype=torch.float64).item()
        return sums

    def keep(self, seeds: np.ndarray) -> None:
        """Remember the weights of now as the best of these seeds, (seeds,) bool."""
        self.best[torch.from_numpy(seeds)] = self.weights[torch.from_numpy(seeds)]

    @torch.no_grad()
    def predicted(self, seed: int, rows: Tensor) -> np.ndarray:
        """(n,) most likely class of each row with the best weights of regression number `seed`."""
        return torch.cat([(some @ self.best[seed].T).argmax(1) for some in rows.split(_JUDGED_ROWS)]).numpy()


def _initial(rng: np.random.Generator, width: int, classes: int) -> Tensor:
    """Uniform between -1 and 1 over the root of the width, weights and bias, as torch's Linear begins."""
    made = np.zeros((classes, padded_columns(width)), np.float32)
    made[:, : width + 1] = rng.uniform(-1, 1, (classes, width + 1)) / np.sqrt(width)
    return torch.from_numpy(made)
