"""What a protein costs: a*L + b*L^2 per forward window, in seconds once a device has been timed.

`a` collects the matrix products with weights, `b` attention; both follow from the model's shape, and timed packs of
short and long proteins make them seconds of a device (attention runs at half the rate of the products at head
dimension 16). Source of the counts: two operations per multiply-add of every weight a token meets, four per (query,
key) pair and head dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Cost:
    """Cost of one protein by its length in residues.

    `linear` and `quadratic` are in floating-point operations when they come from `transformer_cost`, and in
    seconds after `fitted`. Past `max_residues` a protein is cut into windows that share `overlap` residues.
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
        """The cost in seconds, given how long proteins of these lengths took together.

        Both terms are fitted by least squares of relative errors. Where the samples cannot tell them apart, or would
        make one negative, the shape's own ratio of the two stays and both are scaled.
        """
        terms = [replace(self, linear=a, quadratic=b) for a, b in ((1.0, 0.0), (0.0, 1.0))]
        rows = np.array([[term.of(residues).sum() / seconds for term in terms] for residues, seconds in samples])
        found, _, rank, _ = np.linalg.lstsq(rows / rows.max(0), np.ones(len(rows)))
        if rank == 2 and (found > 0).all():
            linear, quadratic = (found / rows.max(0)).tolist()
            return replace(self, linear=linear, quadratic=quadratic)
        scale = sum(seconds for _, seconds in samples) / sum(float(self.of(residues).sum()) for residues, _ in samples)
        return replace(self, linear=self.linear * scale, quadratic=self.quadratic * scale)


def transformer_cost(layers: int, hidden: int, attention: int, ffn: int, ffn_matrices: int = 2) -> Cost:
    """Operations of an encoder: `attention` = heads x head dimension, `ffn_matrices` = 3 for gated ones."""
    weights = 4 * hidden * attention + ffn_matrices * hidden * ffn
    return Cost(linear=2.0 * layers * weights, quadratic=4.0 * layers * attention)
