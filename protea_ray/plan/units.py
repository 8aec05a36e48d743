"""Units: the proteins that one actor embeds and that are committed together; what a resume repeats at most.

Proteins are taken in sort groups of about 4,096, in input order, and sorted by length inside a group. They are not
sorted over the whole run, which would have to wait for all of them and gains nothing once windows are packed. A sort
group is cut into units of even predicted cost. Units get smaller towards the end of a run, so that all actors end
together (guided self-scheduling, Polychronopoulos and Kuck 1987).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# A unit is at most 1/4 of the remaining seconds per actor. An actor queues three units, so the last units get short and
# all actors end together.
SHARES = 4
SMALLEST_UNIT_SECONDS = 0.5  # a unit costs tens of milliseconds of scheduling, and one fragment
UNITS_PER_SECOND = 40  # of all actors; the driver's CPU allows little more (docs/performance.md)
MOST_PROTEINS = 1 << 16  # in a sort group that was enlarged for large units: some hundred MB in an actor


@dataclass(frozen=True)
class Sizes:
    """How large units are, in seconds of predicted compute.

    `seconds` is the size asked for. With many `actors` units get larger, because the driver can send only so many.

    >>> sizes = Sizes(seconds=20.0, actors=8)
    >>> sizes.next(left=10_000.0), sizes.next(left=320.0), sizes.next(left=1.0)
    (20.0, 10.0, 0.5)
    >>> Sizes(seconds=20.0, actors=4096).largest
    102.4
    """

    seconds: float
    actors: int

    @property
    def least(self) -> float:
        """Seconds below which all actors together ask for more units than the driver can send; 0 for few actors."""
        seconds = self.actors / UNITS_PER_SECOND
        return seconds if seconds > SMALLEST_UNIT_SECONDS else 0.0

    @property
    def largest(self) -> float:
        """Seconds of a unit until the end of the run comes near."""
        return max(self.seconds, self.least)

    @property
    def smallest(self) -> float:
        """Seconds of the last units of a run, and of the units of a small run."""
        return min(self.largest, max(SMALLEST_UNIT_SECONDS, self.least))

    def next(self, left: float) -> float:
        """Seconds of the next unit, when `left` seconds of compute are not in a unit yet."""
        return min(self.largest, max(self.smallest, left / (self.actors * SHARES)))

    def window(self, proteins: int, mean_cost: float) -> int:
        """How many proteins are sorted by length together: the proteins of one sort group.

        `proteins`, or, when many actors force large units, enough to fill the largest unit. `mean_cost` is the
        predicted seconds of one protein.
        """
        return max(proteins, min(MOST_PROTEINS, round(self.largest / mean_cost))) if self.least else proteins


@dataclass(frozen=True)
class Unit:
    """Proteins that one actor embeds: `members` (m,) int64, positions in the list of wanted proteins.

    `window` is the number of the sort group, `index` that of the unit in it, `cost` its predicted seconds.
    """

    window: int
    index: int
    members: np.ndarray
    cost: float

    @property
    def name(self) -> str:
        """The name of the unit inside its run; where units of several runs meet, the run's id is put before it."""
        return f"{self.window:06d}.{self.index:03d}"


def cut(
    lengths: np.ndarray, costs: np.ndarray, window: int, sizes: Sizes, left: float | None = None, first: int = 0
) -> Iterator[Unit]:
    """Cut proteins into units, one sort group of `window` proteins after the other.

    `lengths` in residues and `costs` in seconds are (n,). Every position is in exactly one unit. A protein that costs
    more than a whole unit is a unit of its own or the last of one. Where others of the run follow, `left` are the
    seconds of all that are in no unit yet, and sort groups count on from `first`.

    >>> lengths = np.array([400, 100, 300, 200])
    >>> units = list(cut(lengths, costs=lengths / 100, window=4, sizes=Sizes(seconds=4.0, actors=1)))
    >>> [(unit.name, unit.members.tolist(), unit.cost) for unit in units]
    [('000000.000', [1, 3], 3.0), ('000000.001', [2], 3.0), ('000000.002', [0], 4.0)]
    """
    left = float(costs.sum()) if left is None else left
    for number, start in enumerate(range(0, len(lengths), window), first):
        stop = min(start + window, len(lengths))
        members = start + np.argsort(lengths[start:stop], kind="stable")
        ends = np.cumsum(costs[members])
        for index, (low, high) in enumerate(_cuts(ends, left, sizes)):
            yield Unit(number, index, members[low:high], float(costs[members[low:high]].sum()))
        left -= float(ends[-1])


def _cuts(ends: np.ndarray, left: float, sizes: Sizes) -> Iterator[tuple[int, int]]:
    """Consecutive ranges [low, high) of a sort group, none empty.

    `ends` are the running sums of its costs, `left` the seconds of the run that were in no unit before it. Each time
    the rest of the group is divided into equal parts, so that no small rest remains.
    """
    middles = (ends + np.concatenate(([0.0], ends[:-1]))) / 2  # a protein belongs to the unit that its middle is in
    low, done = 0, 0.0
    while low < len(ends):
        rest = float(ends[-1]) - done
        parts = max(1, round(rest / sizes.next(left - done)))
        high = max(low + 1, int(np.searchsorted(middles, done + rest / parts))) if parts > 1 else len(ends)
        yield low, high
        low, done = high, float(ends[high - 1])
