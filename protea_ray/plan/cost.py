"""What a protein costs: a*L + b*L^2 per forward window, in seconds once a device has been timed.

`a` collects the matrix products with weights, `b` attention; both follow from the model's shape, and one timed
micro-batch scales them to a device. Source of the counts: two operations per multiply-add of every weight a
token meets, four per (query, key) pair and head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Cost:
    """Cost of one protein by its length in residues.

    `linear` and `quadratic` are in floating-point operations when they come from `transformer_cost`, and in
    seconds after `timed`. Past `max_residues` a protein is cut into windows that share `overlap` residues.
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

    def timed(self, seconds: float, residues: np.ndarray) -> Cost:
        """The same shape in seconds, given that proteins of these lengths took `seconds` together."""
        scale = seconds / float(self.of(residues).sum())
        return replace(self, linear=self.linear * scale, quadratic=self.quadratic * scale)


def transformer_cost(layers: int, hidden: int, attention: int, ffn: int, ffn_matrices: int = 2) -> Cost:
    """Operations of an encoder: `attention` = heads x head dimension, `ffn_matrices` = 3 for gated ones."""
    weights = 4 * hidden * attention + ffn_matrices * hidden * ffn
    return Cost(linear=2.0 * layers * weights, quadratic=4.0 * layers * attention)
