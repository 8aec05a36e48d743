"""The order of an epoch: the examples that a rank reads, cut into loads and batches. This module reads no table.

A load is the set of examples that is in memory at one time. Shuffling permutes blocks of 256 neighbouring rows over
the whole data set, and then rows within a load of 32 blocks. Blocks of 256 rows are read as fast as a scan (550,000
rows a second of 1,280 half-precision values, against 61,000 for single rows), and on an object store one block is one
request.

The order follows from (seed, epoch, rank, world_size) and the examples, so the number of batches taken is all that a
resumed epoch needs to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from protea_ray.errors import ConfigError

BLOCK = 256
FEWEST_BLOCKS = 256  # small data sets are shuffled in smaller blocks: a rank's share is then as mixed as the whole
LOAD_ROWS = 32 * BLOCK  # Lance takes 8,192 rows in one piece; 16,384 came at a quarter of the rate
LOAD_BYTES = 128 << 20  # of residue matrices; two loads are in memory at a time


@dataclass(frozen=True)
class BatchLayout:
    """How examples become batches. An epoch can be resumed only with an equal layout.

    A batch holds `batch_size` rows or at most `token_budget` residues, padding included. `drop_last` gives every rank
    the same number of full batches. `residue_bytes` is the size of one residue's row, 0 for pooled vectors. Raises
    ConfigError that lists all fields that cannot work.
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

    def require_batches(self, examples: int) -> None:
        """Raise ConfigError, on every rank alike, when a rank would get no batch of this many examples."""
        share = examples // self.world_size
        if share < 1:
            raise ConfigError(
                f"{examples:,} example(s) are fewer than world_size {self.world_size}", where="world_size"
            )
        if self.drop_last and self.batch_size and share < self.batch_size:
            raise ConfigError(f"drop_last leaves no batch: {examples:,} example(s) are {share:,} a rank, fewer than "
                              f"batch_size {self.batch_size:,}", where="batch_size")  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Epoch:
    """The part of one epoch that one rank reads. `residues` (n,) holds the length of every example of every rank."""

    def __init__(self, layout: BatchLayout, residues: np.ndarray, number: int) -> None:
        self.layout = layout
        self.number = number
        self._residues = residues

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.layout.seed, self.number, *stream])

    @cached_property
    def loads(self) -> list[np.ndarray]:
        """Example numbers of each load, ascending; loads in the order in which they are read."""
        order = self._examples_of_rank()
        if not self.layout.residue_bytes:
            size = self.layout.batch_size or 1
            step = max(1, LOAD_ROWS // size) * size
            return [np.sort(order[i : i + step]) for i in range(0, len(order), step)]
        filled = np.cumsum(self._residues[order], dtype=np.int64) * self.layout.residue_bytes // LOAD_BYTES
        return [np.sort(load) for load in np.split(order, np.flatnonzero(np.diff(filled)) + 1) if len(load)]

    def _examples_of_rank(self) -> np.ndarray:
        """The rank's share: a span of the epoch's order. The spans of two ranks differ by at most one example."""
        n, rank, world = len(self._residues), self.layout.rank, self.layout.world_size
        first, last = n * rank // world, n * (rank + 1) // world
        if self.layout.drop_last and self.layout.batch_size:
            last = first + n // world // self.layout.batch_size * self.layout.batch_size
        return self._order()[first:last]

    def _order(self) -> np.ndarray:
        """Every example number once: whole blocks permuted, or ascending without shuffling."""
        n = len(self._residues)
        if not self.layout.shuffle:
            return np.arange(n)
        size = min(BLOCK, max(1, n // FEWEST_BLOCKS))
        blocks = self._rng(0).permutation(-(-n // size))
        order = (blocks[:, None] * size + np.arange(size)).ravel()
        return order[order < n]  # the last block may be short

    def batches(self, load: int) -> list[np.ndarray]:
        """For each batch of a load, the positions of its examples within the load."""
        rows = self.loads[load]
        rng = self._rng(1, self.layout.rank, load)
        order = rng.permutation(len(rows)) if self.layout.shuffle else np.arange(len(rows))
        if self.layout.token_budget is None:
            size = self.layout.batch_size or 1
            return [order[i : i + size] for i in range(0, len(order), size)]
        buckets = _bucketed(order, self._residues[rows], self.layout.token_budget)
        return [buckets[i] for i in rng.permutation(len(buckets))] if self.layout.shuffle else buckets

    @cached_property
    def sizes(self) -> list[int]:
        """Number of batches of each load."""
        if self.layout.token_budget is None:
            return [-(-len(load) // (self.layout.batch_size or 1)) for load in self.loads]
        return [len(self.batches(load)) for load in range(len(self.loads))]

    def loads_of_worker(self, worker: int, workers: int) -> range:
        """Numbers of the loads that one of `workers` DataLoader workers reads; each load belongs to one worker."""
        return range(worker, len(self.loads), workers)


def _bucketed(order: np.ndarray, residues: np.ndarray, budget: int) -> list[np.ndarray]:
    """Cut `order` into batches of similar length, longest first.

    A batch is padded to its longest example and holds at most `budget` residues, or one example that is longer.
    """
    ranked = order[np.argsort(-residues[order], kind="stable")]
    batches, start = [], 0
    while start < len(ranked):
        count = max(1, budget // max(1, int(residues[ranked[start]])))
        batches.append(ranked[start : start + count])
        start += count
    return batches
