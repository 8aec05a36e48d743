"""Units: what one actor embeds and writes in one go, and what a resume repeats at most.

Proteins are taken in windows of about 4,096 in input order and sorted by length inside each (no global sort: a
barrier that buys nothing once batches are packed). A window is cut into units of even predicted cost, and units get
smaller towards the end of a run, so that actors end together (guided self-scheduling, Polychronopoulos and Kuck 1987).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SHARES = 4  # a unit is at most this part of what is left for its actor, which has three of them at a time
SMALLEST_UNIT_SECONDS = 0.5  # a unit costs tens of milliseconds of scheduling and one fragment
UNITS_PER_SECOND = 40  # of all actors; the driver's CPU allows little more (docs/performance.md)
MOST_PROTEINS = 1 << 16  # of a window that was widened for large units: some hundred MB in an actor


@dataclass(frozen=True)
class Sizes:
    """How large units are: `seconds` of predicted compute as asked, more where many actors would drown the driver."""

    seconds: float
    actors: int

    @property
    def least(self) -> float:
        """Below this all actors together would ask for more units than the driver can send; 0 for few actors."""
        seconds = self.actors / UNITS_PER_SECOND
        return seconds if seconds > SMALLEST_UNIT_SECONDS else 0.0

    @property
    def largest(self) -> float:
        """Until the end comes near."""
        return max(self.seconds, self.least)

    @property
    def smallest(self) -> float:
        """At the end, and in small jobs."""
        return min(self.largest, max(SMALLEST_UNIT_SECONDS, self.least))

    def next(self, left: float) -> float:
        """Of the next unit, when so many seconds of compute are not in a unit yet."""
        return min(self.largest, max(self.smallest, left / (self.actors * SHARES)))

    def window(self, proteins: int, mean_cost: float) -> int:
        """`proteins` that are sorted together, or with many actors as many as make the largest unit.

        `mean_cost` is of one protein.
        """
        return max(proteins, min(MOST_PROTEINS, round(self.largest / mean_cost))) if self.least else proteins


@dataclass(frozen=True)
class Unit:
    """`members` (m,) int64: positions in the list of wanted proteins; `cost` in the unit of the cost array."""

    window: int
    index: int
    members: np.ndarray
    cost: float

    @property
    def name(self) -> str:
        """Name inside its run; the run's id is put before it where units of several runs meet."""
        return f"{self.window:06d}.{self.index:03d}"


def cut(lengths: np.ndarray, costs: np.ndarray, window: int, sizes: Sizes) -> Iterator[Unit]:
    """Cut proteins into units, window by window.

    `lengths` and `costs` are (n,), costs in seconds. Every position is in exactly one unit; a protein that costs more
    than a unit should is a unit of its own or the last of one.
    """
    left = float(costs.sum())
    for number, start in enumerate(range(0, len(lengths), window)):
        stop = min(start + window, len(lengths))
        members = start + np.argsort(lengths[start:stop], kind="stable")
        ends = np.cumsum(costs[members])
        for index, (low, high) in enumerate(_cuts(ends, left, sizes)):
            yield Unit(number, index, members[low:high], float(costs[members[low:high]].sum()))
        left -= float(ends[-1])


def _cuts(ends: np.ndarray, left: float, sizes: Sizes) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of a window, none empty. `ends` are sums of its costs, `left` what is not in a unit before it.

    What is left of the window is shared out evenly each time, so that no small rest remains.
    """
    middles = (ends + np.concatenate(([0.0], ends[:-1]))) / 2  # a protein belongs to where its middle is
    low, done = 0, 0.0
    while low < len(ends):
        rest = float(ends[-1]) - done
        parts = max(1, round(rest / sizes.next(left - done)))
        high = max(low + 1, int(np.searchsorted(middles, done + rest / parts))) if parts > 1 else len(ends)
        yield low, high
        low, done = high, float(ends[high - 1])
