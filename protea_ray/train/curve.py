"""The loss curve of a run as a picture: training and validation loss against tokens, baselines as level lines.

Training losses are noisy from step to step, so a running mean over a fiftieth of the run is drawn over them. The axis
of losses begins below the lowest value and ends a little above the worst baseline or the second half of the training,
whichever is higher: the first steps, which start at ln 33, would otherwise take most of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protea_ray.pictures.style import BLUE, GREY, ORANGE, drawable, plain_figure

_PARTS = 50  # a running mean covers one of so many parts of the run
_ABOVE, _BELOW = 0.08, 0.04  # nats of empty axis


@dataclass(frozen=True)
class Curve:
    """What is drawn: (tokens, nats) of steps and of validations, and the baselines in nats by name."""

    title: str
    training: Sequence[tuple[float, float]]
    validation: Sequence[tuple[float, float]]
    baselines: Mapping[str, float]


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of each value and of the `width - 1` before it, fewer at the beginning; (n,) to (n,).

    >>> running_mean(np.array([1.0, 3.0, 5.0, 7.0]), 2).tolist()
    [1.0, 2.0, 4.0, 6.0]
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(1, len(values) + 1) - width, 0)
    last = np.arange(1, len(values) + 1)
    return (sums[last] - sums[first]) / (last - first)


def limits(curve: Curve) -> tuple[float, float] | None:
    """Ends of the axis of losses, in nats; None when nothing tells them."""
    level = [*curve.baselines.values(), *(loss for _, loss in curve.validation)]
    training = [loss for _, loss in curve.training]
    if not level:
        return None
    return min(level + training) - _BELOW, max(level + training[len(training) // 2 :]) + _ABOVE


def draw(curve: Curve, path: Path) -> bool:
    """Write the picture as PNG; False where matplotlib is not installed and nothing was written."""
    if not drawable():
        return False
    figure = plain_figure(8, 4.5)
    axes = figure.subplots()
    if curve.training:
        tokens, losses = np.array(curve.training, dtype=float).T
        axes.plot(tokens, losses, color=BLUE, alpha=0.25, linewidth=0.8)
        smooth = running_mean(losses, max(1, len(losses) // _PARTS))
        axes.plot(tokens, smooth, color=BLUE, label="training (masks of the recipe)")
    if curve.validation:
        axes.plot(*np.array(curve.validation, dtype=float).T, "o-", color=ORANGE, markersize=3, label="validation")
    for name, nats in curve.baselines.items():
        axes.axhline(nats, color=GREY, linestyle="--", linewidth=0.8)
        axes.annotate(f"{name} {nats:.3f}", (1, nats), xycoords=("axes fraction", "data"), fontsize=7,
                      horizontalalignment="right", verticalalignment="bottom")  # fmt: skip
    if ends := limits(curve):
        axes.set_ylim(*ends)
    axes.set_xlabel("tokens")
    axes.set_ylabel("loss of a masked residue, nats")
    axes.set_title(curve.title, fontsize=10)
    axes.legend(loc="upper center")
    figure.savefig(path, dpi=120)
    return True
