"""One measured value of a probe on a task, and what it would have been on other draws of the tested proteins."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Measure:
    """`value` of `metric` over the `count` proteins of `subset` that count for it; None where it is not defined.

    `resampled` (resamples,) float32: the metric of each bootstrap draw, nan where it is not defined. The draws of a
    subset of a task are the same for every input, probe and seed, so values of the same column can be compared.
    """

    subset: str
    metric: str
    count: int
    value: float | None
    resampled: np.ndarray = field(repr=False)
