"""What a number of actors did when, whether it was measured or foretold, and how well they were used.

All times are in seconds since one origin, `cost` is what a unit takes on a GPU that does nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

MOST_OF_THE_WORK = 0.98  # utilisation counts until then; what follows is the tail


@dataclass(frozen=True)
class Schedule:
    """`ready` (n,) is when each actor could begin; `began`, `ended`, `cost` (m,) belong to the units, in any order."""

    ready: np.ndarray
    began: np.ndarray
    ended: np.ndarray
    cost: np.ndarray

    @property
    def seconds(self) -> float:
        """From the first actor that was ready to the end of the last unit."""
        return float(self.ended.max() - self.ready.min())

    @property
    def ideal_seconds(self) -> float:
        """The same if all actors that became ready when they did had shared the work to the last moment."""
        order = np.sort(self.ready)
        counts = np.arange(1, len(order) + 1)
        finish = (self.cost.sum() + np.cumsum(order)) / counts  # if only the first 1, 2, ... took part
        return float(finish.min() - order[0])

    @property
    def tail(self) -> float:
        """Finish of the last actor as a multiple of the ideal one."""
        return self.seconds / self.ideal_seconds

    @cached_property
    def progress(self) -> tuple[np.ndarray, np.ndarray]:
        """Times, ascending, and the work done until each; a unit's cost is spread evenly over its time."""
        times = np.concatenate([self.began, self.ended])
        rates = self.cost / np.maximum(self.ended - self.began, 1e-9)
        order = np.argsort(times, kind="stable")
        times, change = times[order], np.concatenate([rates, -rates])[order]
        done = np.concatenate([[0.0], np.cumsum(np.cumsum(change)[:-1] * np.diff(times))])
        return times, np.maximum.accumulate(done)

    def when(self, share: float) -> float:
        """The moment at which this share of the work was done."""
        times, done = self.progress
        return float(np.interp(share * done[-1], done, times))

    def utilisation(self, start: float = 0.0, end: float = MOST_OF_THE_WORK) -> float:
        """Work done between two shares of it, over the time that ready actors had for it.

        Without `start` time counts from the moment that each actor was ready. NaN where ready actors had no time, as
        where the work was over before the last of them was ready.
        """
        low = self.when(start) if start else -np.inf
        high = self.when(end)
        there = float(np.clip(high - np.maximum(self.ready, low), 0.0, None).sum())
        return float(self.cost.sum()) * (end - start) / there if there else math.nan

    def over_time(self, parts: int = 10) -> list[float]:
        """Utilisation of each equal part of the time until most of the work was done."""
        edges = np.linspace(self.ready.min(), self.when(MOST_OF_THE_WORK), parts + 1)
        times, done = self.progress
        work = np.diff(np.interp(edges, times, done))
        there = np.array([np.clip(edge - self.ready, 0.0, None).sum() for edge in edges])
        return (work / np.diff(there)).tolist()
