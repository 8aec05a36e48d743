"""Key ranges: keys by the value of their first eight bytes, in equal parts, so that keys are compared part by part.

A key is a hash of a protein's letters, so that parts of equal range hold equally many, to a few per thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Bytes that a task takes at its largest, beside the 300 MB of a process with Arrow, Lance and Ray in it; measured by
# `python -m benchmarks.plan`
OF_RECORD_READ = 120  # key, length and row id while they are read and parted
OF_KEY_READ = 64
OF_RECORD_COMPARED = 200  # with the tables of hashes that find its first copy
OF_KEY_COMPARED = 64
OF_RECORD_CUT = 120  # in order again; with its cost while units are cut
LEAST = 64 << 20  # bytes; below it a task would be all overhead


@dataclass(frozen=True)
class Partition:
    """How a comparison is parted: `ranges` of keys, and how many records or keys are read together at most."""

    ranges: int
    records: int
    keys: int

    @classmethod
    def of(cls, records: int, held: int, memory: int) -> Partition:
        """As few as `memory` bytes of a task allow, for so many records and keys that are held.

        >>> Partition.of(records=1_000_000, held=1_000_000, memory=1 << 30)
        Partition(ranges=1, records=8947848, keys=16777216)
        >>> Partition.of(records=1_000_000_000, held=1_000_000_000, memory=1 << 30).ranges
        246
        """
        compared = records * OF_RECORD_COMPARED + held * OF_KEY_COMPARED
        most = max(OF_RECORD_READ, OF_RECORD_CUT)
        return cls(max(1, -(-compared // memory)), max(1, memory // most), max(1, memory // OF_KEY_READ))


def by_range(first_half: np.ndarray, ranges: int) -> list[np.ndarray]:
    """Positions (m,) of the keys of each range, in their order; `first_half` (n,) are the keys' first 64 bits.

    >>> [part.tolist() for part in by_range(np.array([0, 1 << 63, 5, (1 << 64) - 1], np.uint64), 2)]
    [[0, 2], [1, 3]]
    """
    if ranges == 1:
        return [np.arange(len(first_half))]
    part = ((first_half >> np.uint64(32)) * np.uint64(ranges) >> np.uint64(32)).astype(np.uint32)
    order = np.argsort(part, kind="stable")
    return np.split(order, np.searchsorted(part[order], np.arange(1, ranges)))


def grouped_rows(sizes: Sequence[int], most: int) -> list[range]:
    """Neighbours (positions in `sizes`) that together have at most `most` rows; one that has more is alone.

    >>> grouped_rows([4, 4, 4, 20, 1], most=10)
    [range(0, 2), range(2, 3), range(3, 4), range(4, 5)]
    """
    groups: list[range] = []
    first, rows = 0, 0
    for position, size in enumerate(sizes):
        if rows and rows + size > most:
            groups.append(range(first, position))
            first, rows = position, 0
        rows += size
    return [*groups, range(first, len(sizes))] if sizes else []
