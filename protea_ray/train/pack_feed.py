"""The packs of a run in the order of its steps, built by a thread a few packs ahead of the one that is computed.

Building a pack (crop, tokens, masks) is numpy and takes milliseconds; it must not stand between two forward passes. The
plan of the next epoch is made ahead as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from protea_ray.plan.steps import EpochSteps, StepLayout

T = TypeVar("T")


@dataclass(frozen=True)
class PlannedStep:
    """One optimiser step of the plan: its number in its epoch, and the proteins of every rank's packs.

    `last` is true for the last step of an epoch.
    """

    epoch: int
    number: int
    packs: list[np.ndarray]
    last: bool


class StepPlan:
    """The steps of a run from (epoch, step) on, without an end. `lengths` (n,) are the training proteins' residues."""

    def __init__(self, lengths: np.ndarray, layout: StepLayout) -> None:
        self._lengths, self._layout = lengths, layout
        self.first = EpochSteps(lengths, layout, 0)  # raises ConfigError when the proteins do not fill one step

    def steps(self, epoch: int, number: int) -> Iterator[PlannedStep]:
        """Step `number` of `epoch`, and all that follow."""
        pool = ThreadPoolExecutor(1, "epochs")
        ahead = pool.submit(self._epoch, epoch)
        while True:
            current, epoch = ahead.result(), epoch + 1
            ahead = pool.submit(self._epoch, epoch)
            for step in range(number, current.steps):
                yield PlannedStep(current.epoch, step, current.packs(step), step == current.steps - 1)
            number = 0

    def tokens(self, step: PlannedStep) -> int:
        """Tokens of a step over all ranks, special ones included."""
        lengths = self._lengths[np.concatenate(step.packs)]
        return int(np.minimum(lengths, self._layout.crop).sum()) + self._layout.specials * len(lengths)

    def _epoch(self, number: int) -> EpochSteps:
        return self.first if number == 0 else EpochSteps(self._lengths, self._layout, number)


class PackFeed(Generic[T]):
    """Steps with the packs of one rank, made ahead. `build(step, number)` makes pack `number` of a step in a thread."""

    def __init__(self, build: Callable[[PlannedStep, int], T], *, rank: int, world: int, ahead: int = 8) -> None:
        self._build, self._rank, self._world, self._ahead = build, rank, world, ahead
        self._pool = ThreadPoolExecutor(1, "packs")  # one: the letters of a store are read by one thread

    def __enter__(self) -> PackFeed[T]:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def steps(self, planned: Iterator[PlannedStep]) -> Iterator[tuple[PlannedStep, Iterator[T]]]:
        """Each step with this rank's packs of it; an error in the thread is raised here."""
        waiting: deque[tuple[PlannedStep, list[Future[T]]]] = deque()
        while True:
            while sum(len(futures) for _, futures in waiting) < self._ahead:
                step = next(planned)
                numbers = range(self._rank, len(step.packs), self._world)
                waiting.append((step, [self._pool.submit(self._build, step, number) for number in numbers]))
            step, futures = waiting.popleft()
            yield step, (future.result() for future in futures)
