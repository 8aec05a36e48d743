"""How time and memory grow with length: the exponent a of value ~ length^a, a line through the logarithms.

The line goes through the upper half of the points alone: short proteins pay for what does not grow, such as the start
of each layer, and would make every method look better than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_POINTS = 3  # two points fit any line, and leave nothing to tell its error from


@dataclass(frozen=True)
class Exponent:
    """The slope of a line through (log length, log value), its standard error, and the points that it goes through."""

    value: float
    standard_error: float
    intercept: float
    points: int

    def predicted(self, length: float) -> float:
        """The value at a length, in the unit of the values that were fitted."""
        return math.exp(self.intercept + self.value * math.log(length))

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.standard_error:.2f}"


def fit_exponent(lengths: Sequence[float], values: Sequence[float | None]) -> Exponent | None:
    """Fit value ~ length^a by least squares in logarithms; None for fewer than three points or equal lengths.

    Values that are None or not above 0 have no logarithm and are left out; of the others the upper half by length is
    used, and at least three. The standard error is that of a slope, from n - 2 degrees of freedom.

    >>> print(fit_exponent([1, 2, 4, 8, 16, 32], [9, 9, 1, 4, 16, 64]))
    2.00 ± 0.00
    """
    measured = sorted((length, value) for length, value in zip(lengths, values, strict=True) if value and value > 0)
    used = measured[-max(LEAST_POINTS, math.ceil(len(measured) / 2)) :]
    if len(used) < LEAST_POINTS or used[0][0] == used[-1][0]:
        return None
    x, y = np.log(np.array(used, np.float64)).T
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    intercept = float(y.mean() - slope * x.mean())
    left = float(((y - intercept - slope * x) ** 2).sum())
    return Exponent(slope, math.sqrt(left / (len(used) - 2) / spread), intercept, len(used))
