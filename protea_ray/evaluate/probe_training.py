"""The two probes of a protein's vector, a linear layer and a small MLP, and the loop that fits one of them.

Biases of the output begin at what the training proteins say of each class or term alone (its log odds), and the last
weights at 0: the first predictions are the frequencies. From biases at 0 a term that one protein in a hundred has would
take 1,500 steps of 3e-3 to come down to its odds, which is more than there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import CLASSIFICATION, MULTILABEL, REGRESSION

LINEAR, MLP = "linear", "mlp"
PROBES = (LINEAR, MLP)
_DROPOUT = 0.2  # of the MLP's hidden layer


@dataclass(frozen=True)
class Labelled:
    """Standardised features (n, width) float32 and their targets: (n,) int64, (n,) float32, or (n, terms) float32."""

    inputs: Tensor
    targets: Tensor


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: sums are then in one order, and layers this small cost more CPU on two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Probe:
    """One probe with its weights, float32 matrices and biases, and its generator: the same for the same seed.

    `epochs` is after how many its weights are those of.
    """

    def __init__(self, name: str, width: int, first: Tensor, hidden: int, seed: int) -> None:
        self.epochs = 0
        self.draw = draw = torch.Generator().manual_seed(seed)
        self.weights = [torch.zeros(first.shape[0], hidden if name == MLP else width), first.clone()]
        if name == MLP:
            bound = 1 / math.sqrt(width)  # torch's own for a linear layer
            inner = [torch.empty(shape).uniform_(-bound, bound, generator=draw) for shape in ((hidden, width), hidden)]
            self.weights = [*inner, *self.weights]
        for weight in self.weights:
            weight.requires_grad_()

    def copied(self) -> list[Tensor]:
        """The weights as they are now."""
        return [weight.detach().clone() for weight in self.weights]

    def scores(self, inputs: Tensor, training: bool = False) -> Tensor:
        """(n, outputs) before any softmax or sigmoid; `training` drops a fifth of the hidden units."""
        *inner, matrix, bias = self.weights
        if inner:
            inputs = F.gelu(F.linear(inputs, *inner))
            if training:
                keep = torch.empty_like(inputs).bernoulli_(1 - _DROPOUT, generator=self.draw)
                inputs = inputs * keep / (1 - _DROPOUT)
        return F.linear(inputs, matrix, bias)


def loss_of(kind: str, scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, the sum over terms of binary cross-entropies, or squared error: the mean over the proteins."""
    if kind == CLASSIFICATION:
        return F.cross_entropy(scores, targets)
    if kind == MULTILABEL:
        return F.binary_cross_entropy_with_logits(scores, targets, reduction="sum") / len(targets)
    return F.mse_loss(scores[:, 0], targets)


def first_bias(kind: str, targets: Tensor, outputs: int) -> Tensor:
    """(outputs,) log odds of the terms, log shares of the classes (half a protein more of each), or the mean."""
    if kind == CLASSIFICATION:
        counts = torch.bincount(targets, minlength=outputs) + 0.5
        return (counts / counts.sum()).log()
    if kind == MULTILABEL:
        share = (targets.sum(0) + 0.5) / (len(targets) + 1)
        return (share / (1 - share)).log()
    return targets.mean().reshape(1)


def fit(
    name: str, outputs: int, fitted: Labelled, chooses: Labelled, kind: str, protocol: Protocol, seed: int
) -> Probe:
    """Train one probe by AdamW (Loshchilov and Hutter 2019) and give it the weights of its best epoch.

    The best epoch has the lowest loss on `chooses`; without such proteins all epochs are run and the last counts. The
    frequencies alone are a candidate too, so that an input that says nothing ends with them; of numbers they are not:
    a constant has no rank correlation.
    """
    probe = Probe(name, fitted.inputs.shape[1], first_bias(kind, fitted.targets, outputs), protocol.hidden, seed)
    optimiser = torch.optim.AdamW(
        probe.weights, lr=protocol.learning_rate, weight_decay=protocol.weight_decay, fused=True
    )
    best = probe.copied()
    lowest = math.inf if kind == REGRESSION else _judged(probe, kind, chooses)
    for epoch in range(1, protocol.epochs + 1):
        _one_epoch(probe, kind, fitted, optimiser, protocol.batch_size)
        loss = _judged(probe, kind, chooses)
        if loss < lowest or not len(chooses.inputs):
            best, lowest, probe.epochs = probe.copied(), loss, epoch
        if epoch == probe.epochs + protocol.patience:
            break
    probe.weights = best
    return probe


@torch.no_grad()
def _judged(probe: Probe, kind: str, chooses: Labelled) -> float:
    """Loss on the proteins that choose the epoch; 0 where there are none."""
    return loss_of(kind, probe.scores(chooses.inputs), chooses.targets).item() if len(chooses.inputs) else 0.0


def _one_epoch(probe: Probe, kind: str, fitted: Labelled, optimiser: torch.optim.Optimizer, batch_size: int) -> None:
    order = torch.randperm(len(fitted.inputs), generator=probe.draw)
    for batch in order.split(batch_size):
        loss = loss_of(kind, probe.scores(fitted.inputs[batch], training=True), fitted.targets[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
