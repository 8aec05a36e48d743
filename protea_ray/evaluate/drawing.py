"""Random numbers of a cell: each use has a generator of its own, seeded by what the cell is and what is drawn.

So a result depends neither on which other cells are computed nor on their order, and all inputs see the same draws.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from protea_ray.evaluate.task import Task


def seed_of(*parts: object) -> int:
    """A number below 2^63 of some plain values, the same on every machine."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> np.random.Generator:
    """A generator that is seeded by plain values: a seed, a fold, and the word for what is drawn."""
    return np.random.default_rng(seed_of(*parts))


@dataclass(frozen=True)
class Sides:
    """Numbers of the proteins that a probe is fitted to, and of those that choose its epoch.

    `drawn`: the second were drawn from the training proteins, and belong to training again once the epoch is chosen.
    """

    fitted: np.ndarray
    chooses: np.ndarray
    drawn: bool

    @property
    def learned(self) -> np.ndarray:
        """Those of which the probe that is judged has learned."""
        return np.union1d(self.fitted, self.chooses) if self.drawn else self.fitted


def sides(task: Task, fold: int, seed: int, share: float) -> Sides:
    """Divide the training proteins when `fold` is tested.

    Those choose that the file keeps for it; where it keeps none, whole groups of relatives are drawn until they hold
    `share` of the training proteins: none where there is one training protein alone.
    """
    training = np.flatnonzero(task.fold != fold)
    kept = np.zeros(len(training), bool) if task.validation is None else task.validation[training]
    if drawn := not kept.any():
        kept = drawn_groups(task.group[training], share, generator(seed, fold, "validation"))
    return Sides(training[~kept], training[kept], drawn)


def drawn_groups(group: np.ndarray, share: float, draw: np.random.Generator) -> np.ndarray:
    """(n,) True for whole groups, in a drawn order as they fit, that make up about `share` of `group` (n,).

    Where no group is small enough it is the smallest; where there is one group alone, members of it.
    """
    names, number, size = np.unique(group, return_inverse=True, return_counts=True)
    if len(names) == 1:
        number, size = np.arange(len(group)), np.ones(len(group), np.int64)
    order, wanted = draw.permutation(len(size)), share * len(group)
    chosen, held = np.zeros(len(size), bool), 0
    for one in order:
        if held + size[one] <= wanted:
            chosen[one], held = True, held + size[one]
    if not held and len(size) > 1:
        chosen[order[np.argmin(size[order])]] = True
    return chosen[number]
