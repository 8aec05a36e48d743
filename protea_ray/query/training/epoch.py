"""The order of an epoch: which examples a rank reads, in which windows and batches. Numbers only, nothing is read.

A window is what is in memory at a time. Shuffling permutes blocks of 256 neighbouring rows over the whole data set
and then rows within a window of 32 blocks: 256-row blocks are read as fast as a scan (550,000 rows a second of 1,280
half-precision values, against 61,000 for single rows), and on an object store one block is one request.

Everything follows from (seed, epoch, rank, world_size) and the examples, so an interrupted epoch is resumed by
counting batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from protea_ray.errors import ConfigError

BLOCK = 256
FEWEST_BLOCKS = 256  # small data sets are shuffled in smaller blocks: a rank's share is then as mixed as the whole
WINDOW_ROWS = 32 * BLOCK  # Lance takes 8,192 rows in one piece; 16,384 came at a quarter of the rate
WINDOW_BYTES = 128 << 20  # of residue matrices; two windows are in memory at a time


@dataclass(frozen=True)
class BatchLayout:
    """How examples become batches: what has to be the same for an epoch to be resumed.

    Either `batch_size` rows or `token_budget` residues (padding included) make a batch. `drop_last` gives every rank
    the same number of full batches. `residue_bytes` is the size of one residue's row, 0 for pooled vectors.
    """

    batch_size: int | None
    token_budget: int | None
    shuffle: bool
    seed: int
    rank: int
    world_size: int
    drop_last: bool
    residue_bytes: int

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems, where="torch data set")

    def _problems(self) -> Iterator[str]:
        if (self.batch_size is None) == (self.token_budget is None):
            yield "give batch_size (rows) or token_budget (residues), one of them"
        for name in ("batch_size", "token_budget", "world_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                yield f"{name} {value} must be at least 1"
        if not 0 <= self.rank < self.world_size:
            yield f"rank {self.rank} is not one of world_size {self.world_size}"
        if self.drop_last and self.batch_size is None:
            yield "drop_last needs batch_size: batches of a token budget are not of one size"
        if self.token_budget is not None and not self.residue_bytes:
            yield "token_budget is for residue matrices; ask for the column 'residues', or give batch_size"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Epoch:
    """One rank's part of one epoch. `residues` (n,) are the lengths of all examples, of all ranks."""

    def __init__(self, layout: BatchLayout, residues: np.ndarray, number: int) -> None:
        self.layout = layout
        self.number = number
        self._residues = residues

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.layout.seed, self.number, *stream])

    @cached_property
    def windows(self) -> list[np.ndarray]:
        """Example numbers of each window, ascending; windows in the order in which they are read."""
        mine = self._mine()
        if not self.layout.residue_bytes:
            size = self.layout.batch_size or 1
            step = max(1, WINDOW_ROWS // size) * size
            return [np.sort(mine[i : i + step]) for i in range(0, len(mine), step)]
        filled = np.cumsum(self._residues[mine], dtype=np.int64) * self.layout.residue_bytes // WINDOW_BYTES
        return [np.sort(w) for w in np.split(mine, np.flatnonzero(np.diff(filled)) + 1) if len(w)]

    def _mine(self) -> np.ndarray:
        """The rank's share: spans of one order, whose sizes differ by at most one row."""
        n, rank, world = len(self._residues), self.layout.rank, self.layout.world_size
        first, last = n * rank // world, n * (rank + 1) // world
        if self.layout.drop_last and self.layout.batch_size:
            last = first + n // world // self.layout.batch_size * self.layout.batch_size
        return self._order()[first:last]

    def _order(self) -> np.ndarray:
        n = len(self._residues)
        if not self.layout.shuffle:
            return np.arange(n)
        size = min(BLOCK, max(1, n // FEWEST_BLOCKS))
        blocks = self._rng(0).permutation(-(-n // size))
        order = (blocks[:, None] * size + np.arange(size)).ravel()
        return order[order < n]  # the last block may be short

    def batches(self, window: int) -> list[np.ndarray]:
        """Positions within the window of each of its batches."""
        rows = self.windows[window]
        rng = self._rng(1, self.layout.rank, window)
        order = rng.permutation(len(rows)) if self.layout.shuffle else np.arange(len(rows))
        if self.layout.token_budget is None:
            size = self.layout.batch_size or 1
            return [order[i : i + size] for i in range(0, len(order), size)]
        found = _bucketed(order, self._residues[rows], self.layout.token_budget)
        return [found[i] for i in rng.permutation(len(found))] if self.layout.shuffle else found

    @cached_property
    def sizes(self) -> list[int]:
        """Batches of each window."""
        if self.layout.token_budget is None:
            return [-(-len(w) // (self.layout.batch_size or 1)) for w in self.windows]
        return [len(self.batches(w)) for w in range(len(self.windows))]


def _bucketed(order: np.ndarray, residues: np.ndarray, budget: int) -> list[np.ndarray]:
    """Batches of similar length, longest first: rows x longest <= budget, or one row where it alone is longer."""
    ranked = order[np.argsort(-residues[order], kind="stable")]
    found, start = [], 0
    while start < len(ranked):
        count = max(1, budget // max(1, int(residues[ranked[start]])))
        found.append(ranked[start : start + count])
        start += count
    return found


def resumed_lanes(sizes: Sequence[int], done: int) -> list[tuple[int, int]]:
    """(lane, batches taken of it) for each worker of an epoch that was left after `done` batches.

    Lanes of `sizes` batches are dealt out as a DataLoader does: one of each in turn, passing over those that have
    ended. The lane whose turn it is goes to the first worker, so that the order of batches stays what it was.
    """
    taken, turn = [0] * len(sizes), 0
    for _ in range(min(done, sum(sizes))):
        while taken[turn] == sizes[turn]:
            turn = (turn + 1) % len(sizes)
        taken[turn] += 1
        turn = (turn + 1) % len(sizes)
    turns = [(turn + i) % len(sizes) for i in range(len(sizes))]
    turns.sort(key=lambda lane: taken[lane] == sizes[lane])  # those that have ended come last
    return [(lane, taken[lane]) for lane in turns]
