"""The rows of a long protein as the mean of its windows, position by position (arXiv 2501.07747, `stitch: average`).

Row p is the mean of row p of every window that has one, so a protein has as many rows as its longest window, and each
is a mixture of residues that lie one window's length apart. Its poolings are over these rows: a residue of the mean
weighs 1 / (rows x windows that have its position). That is what the paper does; `stitch: owner`, which keeps each
residue apart, is the default here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class PositionAverage:
    """Adds up the rows of windows in the order of the protein, whatever order they come in.

    Memory is the sum, and those windows that came before their turn.
    """

    def __init__(self) -> None:
        self._sum: np.ndarray | None = None
        self._count = np.zeros(0)
        self._early: dict[int, np.ndarray] = {}
        self._next = 0

    def add(self, window: int, rows: np.ndarray) -> None:
        """Take the rows (residues, width) of window number `window`; the first is one of the longest."""
        self._early[window] = rows
        for due in self._due():
            if self._sum is None:
                self._sum, self._count = np.zeros(due.shape), np.zeros((len(due), 1))
            self._sum[: len(due)] += due
            self._count[: len(due)] += 1

    def poolings(self) -> dict[str, np.ndarray]:
        """Every pooling over the averaged rows, each (1, width) float64, once all windows are in."""
        assert self._sum is not None
        rows = self._sum / self._count
        mean, peak = rows.mean(0, keepdims=True), rows.max(0, keepdims=True)
        both = np.concatenate([mean, peak], 1)
        return {"mean": mean, "max": peak, "mean_max": both, "std": rows.std(0, keepdims=True)}

    def _due(self) -> Iterator[np.ndarray]:
        """The windows whose turn has come, each once."""
        while self._next in self._early:
            yield self._early.pop(self._next)
            self._next += 1
