"""Units: what one actor embeds and writes in one go, and what a resume repeats at most.

Proteins are taken in windows of about 4,096 in input order and sorted by length inside each (no global sort: a
barrier that buys nothing once batches are packed). A window is cut into units of even predicted cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

UNITS_PER_ACTOR = 8  # the last unit of the slowest actor is then at most an eighth of its work
SMALLEST_UNIT_SECONDS = 0.5  # a unit costs tens of milliseconds of scheduling and one fragment


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


def unit_seconds(total: float, actors: int, at_most: float) -> float:
    """Predicted compute of one unit: as asked, but small enough that every actor gets several."""
    return min(at_most, max(SMALLEST_UNIT_SECONDS, total / (actors * UNITS_PER_ACTOR)))


def cut(lengths: np.ndarray, costs: np.ndarray, window: int, target: float) -> Iterator[Unit]:
    """Cut proteins into units, window by window.

    `lengths` and `costs` are (n,); `target` is the cost a unit should have. Every position is in exactly one unit;
    a protein that costs more than the target is a unit of its own or the last of one.
    """
    for number, start in enumerate(range(0, len(lengths), window)):
        stop = min(start + window, len(lengths))
        members = start + np.argsort(lengths[start:stop], kind="stable")
        sorted_costs = costs[members]
        for index, (low, high) in enumerate(_even_cuts(sorted_costs, target)):
            yield Unit(number, index, members[low:high], float(sorted_costs[low:high].sum()))


def _even_cuts(costs: np.ndarray, target: float) -> list[tuple[int, int]]:
    """Consecutive ranges of about equal cost, none empty; costs are ascending."""
    parts = max(1, min(len(costs), round(float(costs.sum()) / target)))
    ends = np.cumsum(costs)
    wanted = ends[-1] * np.arange(1, parts) / parts
    inner = np.searchsorted(ends, wanted, side="left") + 1
    edges = np.unique(np.concatenate(([0], inner, [len(costs)])))
    edges = edges[edges <= len(costs)].tolist()
    return list(pairwise(edges))
