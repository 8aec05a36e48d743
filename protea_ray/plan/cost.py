"""Predicted cost of a protein: a*L + b*L^2 for each forward window, in seconds once a device has been timed.

`a` counts the matrix products with weights, `b` attention. Both follow from the shape of the model: two operations for
every weight and token, four for every (query, key) pair and head dimension. Timed packs of short and of long proteins
turn operations into seconds of a device, one factor for each term: at head dimension 16 attention runs at half the rate
of the products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np


@dataclass(frozen=True)
class Cost:
    """Cost of one protein by its length in residues.

    `linear` and `quadratic` are in floating-point operations when they come from `transformer_cost`, and in
    seconds after `fitted`. A protein longer than `max_residues` has windows that share `overlap` residues, or is cut
    there when `truncates`.

    >>> cost = Cost(linear=2.0, quadratic=0.5, max_residues=10, overlap=5)
    >>> cost.of(np.array([4, 10])).tolist()
    [16.0, 70.0]
    >>> cost.of(np.array([20])).tolist()  # 20 residues, of which windows of 10 repeat half
    [280.0]
    """

    linear: float
    quadratic: float
    max_residues: int | None = None
    overlap: int = 0
    truncates: bool = False

    def of(self, residues: np.ndarray) -> np.ndarray:
        """Cost of each protein; `residues` is (n,) of any integer type, the result (n,) float64."""
        length = np.asarray(residues, dtype=np.float64)
        if self.max_residues is None:
            return self.linear * length + self.quadratic * length**2
        seen = np.minimum(length, self.max_residues)
        if self.truncates:
            return self.linear * seen + self.quadratic * seen**2
        repeated = np.where(length > seen, self.max_residues / (self.max_residues - self.overlap), 1.0)
        return (self.linear + self.quadratic * seen) * length * repeated

    def fitted(self, samples: Sequence[tuple[np.ndarray, float]]) -> Cost:
        """The cost in seconds, fitted to samples: lengths in residues (n,) and the seconds that they took together.

        Both terms are fitted by least squares of relative errors. When the samples cannot tell the terms apart, or one
        would be negative, both terms are scaled by one factor instead.

        >>> short, long = np.array([100]), np.array([1000])
        >>> fitted = Cost(1.0, 1.0).fitted([(short, 0.3), (long, 12.0)])
        >>> [round(float(seconds), 6) for seconds in fitted.of(np.array([100, 1000]))]
        [0.3, 12.0]
        """
        terms = [replace(self, linear=a, quadratic=b) for a, b in ((1.0, 0.0), (0.0, 1.0))]
        rows = np.array([[term.of(residues).sum() / seconds for term in terms] for residues, seconds in samples])
        # numpy's stub leaves the types of the four results open
        answer = cast("tuple[Any, ...]", np.linalg.lstsq(rows / rows.max(0), np.ones(len(rows))))
        solution, rank = np.asarray(answer[0], dtype=np.float64), int(answer[2])
        if rank == 2 and (solution > 0).all():
            linear, quadratic = (solution / rows.max(0)).tolist()
            return replace(self, linear=linear, quadratic=quadratic)
        scale = sum(seconds for _, seconds in samples) / sum(float(self.of(residues).sum()) for residues, _ in samples)
        return replace(self, linear=self.linear * scale, quadratic=self.quadratic * scale)


def transformer_cost(layers: int, hidden: int, attention: int, ffn: int, ffn_matrices: int = 2) -> Cost:
    """Cost in operations of an encoder: `attention` = heads x head dimension, `ffn_matrices` = 3 for a gated one.

    >>> esm2_8m = transformer_cost(layers=6, hidden=320, attention=320, ffn=1280)
    >>> esm2_8m.linear, esm2_8m.quadratic
    (14745600.0, 7680.0)
    """
    weights = 4 * hidden * attention + ffn_matrices * hidden * ffn
    return Cost(linear=2.0 * layers * weights, quadratic=4.0 * layers * attention)
