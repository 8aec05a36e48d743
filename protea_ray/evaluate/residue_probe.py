"""The probe of a task per residue: softmax regression on standardised residue vectors, all seeds in the same passes.

It is the protocol of biotrainer's autoeval (PBC): Adam, batches of 64 residues, at most ten epochs, the best of them by
the loss on validation chains. One pass over the training chains gives mean and standard deviation, each epoch is
another and one over the validation chains, and a last one predicts: each chain is read about a dozen times, whatever
the number of seeds. Memory is that of two blocks, however many chains there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protea_ray.errors import InputError, StoreError, TrainingError
from protea_ray.evaluate.drawing import Sides, sides
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.probe_training import one_thread
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.residue_reading import Block, Matrices, blocks, matrices_of
from protea_ray.evaluate.softmax_regression import Scale, SoftmaxRegressions
from protea_ray.evaluate.task import UNRESOLVED, Task

_WEIGHTS, _ROWS, _CHAINS = range(3)  # streams of random numbers
_EVERY_SEED = -1  # the seed of what all seeds share
_MOMENT_ROWS = 8192  # turned into double precision at a time
_SMALLEST_DEVIATION = 1e-6  # a feature that varies less is left unscaled


def residue_counts(
    task: Task, given: Input, location_uri: str, seeds: Sequence[int], protocol: Protocol
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (seed, counts (tested, classes, classes) int64 of [true state, predicted state]) of every seed.

    A seed's counts do not depend on the others. Raises ConfigError for an input without residues, StoreError for chains
    without a matrix, InputError for a split without proteins to train on or to choose by, TrainingError for a loss that
    is no number.
    """
    matrices, width = matrices_of(task, given, location_uri)
    counts = np.zeros((len(seeds), len(task.tested), len(task.names), len(task.names)), np.int64)
    with one_thread(), ThreadPoolExecutor(1, thread_name_prefix="protea-ray-residues") as ahead:
        for fold in task.folds:
            chains = sides_of(task, fold, protocol.validation_share)
            _Fold(task, matrices, width, fold, chains, protocol, ahead).fill(counts, seeds)
    yield from zip(seeds, counts, strict=True)


def sides_of(task: Task, fold: int, share: float) -> Sides:
    """The chains that train and those that choose the epoch, the same for all seeds, for they share passes.

    Raises InputError where there is no resolved residue to train on or to choose by.
    """
    found = sides(task, fold, _EVERY_SEED, share)
    chain = np.repeat(np.arange(len(task)), task.lengths)
    resolved = np.bincount(chain[task.targets != UNRESOLVED], minlength=len(task))
    fitted, chooses = (int(resolved[chains].sum()) for chains in (found.fitted, found.chooses))
    if not fitted or not chooses:
        raise InputError(f"task {task.name}, beside fold {fold}: {fitted:,} residues with a state to train on and "
                         f"{chooses:,} to choose the epoch by; both need some, so mark other chains, or give chains of "
                         "more groups")  # fmt: skip
    return found


@dataclass
class _Fold:
    """Training and predictions of one fold."""

    task: Task
    matrices: Matrices
    width: int
    fold: int
    sides: Sides
    protocol: Protocol
    ahead: ThreadPoolExecutor

    def fill(self, counts: np.ndarray, seeds: Sequence[int]) -> None:
        """Train, and add what is predicted to `counts` (seeds, tested, classes, classes)."""
        scale = self._scale()
        rngs = [np.random.default_rng([_WEIGHTS, self.fold, seed]) for seed in seeds]
        learning_rate = self.protocol.residue_learning_rate
        fits = SoftmaxRegressions(rngs, self.width, len(self.task.names), learning_rate)
        lowest, last_gain = np.full(len(seeds), np.inf), np.zeros(len(seeds), np.int64)
        for epoch in range(self.protocol.residue_epochs):
            going = epoch - last_gain <= self.protocol.residue_patience
            if not going.any():
                break
            self._train(fits, scale, seeds, epoch)
            losses = self._validation_losses(fits, scale)
            better = going & (losses < lowest)
            fits.keep(better)
            lowest[better], last_gain[better] = losses[better], epoch
        if not np.isfinite(lowest).all():
            raise TrainingError(f"task {self.task.name}: no epoch's loss on the validation chains was a number")
        self._predict(fits, scale, counts)

    def _blocks(self, chains: np.ndarray) -> Iterator[Block]:
        return blocks(self.task, chains, self.matrices, self.width, self.ahead)

    def _scale(self) -> Scale:
        """Moments in double precision over the training residues, in the task's order of chains."""
        count, sums = 0, torch.zeros(2, self.width, dtype=torch.float64)
        for block in self._blocks(self.sides.fitted):
            for wide in _in_double(block):
                sums += torch.stack([wide.sum(0), wide.square().sum(0)])
            count += len(block.states)
            self._require_finite(block, sums)
        mean = sums[0] / count
        deviation = (sums[1] / count - mean.square()).clamp(min=0).sqrt()
        return Scale(mean.float(), torch.where(deviation > _SMALLEST_DEVIATION, deviation, 1.0).float())

    def _standardised(self, block: Block, scale: Scale) -> tuple[Tensor, Tensor]:
        rows = scale.rows(block.rows)
        self._require_finite(block, rows)
        return rows, torch.from_numpy(block.states)

    def _require_finite(self, block: Block, values: Tensor) -> None:
        """Raise StoreError that names a chain, where what was made of a block is not all numbers."""
        if bool(values.sum(dtype=torch.float64).isfinite()):
            return
        for chain, rows in zip(block.chains.tolist(), block.rows, strict=True):
            if not np.isfinite(rows).all():
                raise StoreError(f"the residue matrix of {self.task.ids[chain]} holds values that are no numbers; run "
                                 "`protea-ray verify`")  # fmt: skip

    def _train(self, fits: SoftmaxRegressions, scale: Scale, seeds: Sequence[int], epoch: int) -> None:
        """One epoch: chains in an order of the epoch's, residues of a block in one of each seed's own."""
        chains = np.random.default_rng([_CHAINS, self.fold, epoch]).permutation(self.sides.fitted)
        for number, block in enumerate(self._blocks(chains)):
            streams = [[_ROWS, self.fold, seed, epoch, number] for seed in seeds]
            order = np.stack([np.random.default_rng(stream).permutation(len(block.states)) for stream in streams])
            fits.train(*self._standardised(block, scale), torch.from_numpy(order), self.protocol.batch_size)

    def _validation_losses(self, fits: SoftmaxRegressions, scale: Scale) -> np.ndarray:
        """(seeds,) summed over validation residues."""
        parts = (self._standardised(block, scale) for block in self._blocks(self.sides.chooses))
        return np.sum([fits.losses(*part) for part in parts], axis=0)

    def _predict(self, fits: SoftmaxRegressions, scale: Scale, counts: np.ndarray) -> None:
        """Add one to [seed, tested chain, true state, predicted state] for every resolved residue of this fold."""
        for block in self._blocks(np.flatnonzero(self.task.fold == self.fold)):
            rows, states = self._standardised(block, scale)
            at = np.searchsorted(self.task.tested, block.chains)
            chain = np.repeat(at, [len(part) for part in block.rows])
            for seed, filled in enumerate(counts):
                cells = np.stack([chain, states.numpy(), fits.predicted(seed, rows)])
                np.add.at(filled, tuple(cells), 1)


def _in_double(block: Block) -> Iterator[Tensor]:
    """Rows of a block in double precision, some at a time."""
    for part in block.rows:
        for some in torch.from_numpy(part).split(_MOMENT_ROWS):
            yield some.double()
