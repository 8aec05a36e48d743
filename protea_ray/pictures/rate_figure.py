"""Residues per second over a run, as steps: each value is the mean of one interval."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from protea_ray.pictures.store_data import RatePoint, RunFacts
from protea_ray.pictures.style import BLUE, GREY, blank_figure, count_axis, drawing, new_figure, panel

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

TITLE = "Residues per second"


def draw_rate(run: RunFacts | None) -> DescribedFigure:
    """Draw the rate of each interval and their mean. Raises ConfigError without matplotlib."""
    if run is None or len(run.rate) < 2:
        return blank_figure(TITLE, describe_rate(run))
    mean = mean_rate(run.rate)
    with drawing():
        figure = new_figure(f"{TITLE}: run {run.run}", describe_rate(run))
        axes = figure.subplots()
        rates = [point.residues_per_second for point in run.rate]
        axes.step([point.seconds for point in run.rate], rates, where="pre", color=BLUE, label="of each interval")
        axes.axhline(mean, color=GREY, linestyle="--", linewidth=1, label=f"mean {mean:,.0f}")
        panel(axes, "", "seconds since the command", "residues/s")
        axes.set_ylim(0, 1.1 * max(rates) or 1)
        axes.set_xlim(left=0)
        count_axis(axes.yaxis)
        count_axis(axes.xaxis)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def mean_rate(points: Sequence[RatePoint]) -> float:
    """Residues/s from the first point, which begins the first interval, to the last.

    >>> mean_rate([RatePoint(10, 0), RatePoint(12, 100), RatePoint(13, 400)])
    200.0
    """
    spans = [(after.seconds - before.seconds, after) for before, after in pairwise(points)]
    seconds = sum(span for span, _ in spans)
    return sum(span * point.residues_per_second for span, point in spans) / seconds if seconds else 0.0


def describe_rate(run: RunFacts | None) -> str:
    """The steps in a sentence."""
    if run is None:
        return "No run has recorded its residues per second."
    if len(run.rate) < 2:
        return f"The residues per second of run {run.run} ({run.kind}) were not recorded."
    rates = [point.residues_per_second for point in run.rate[1:]]
    return (
        f"Run {run.run}: {mean_rate(run.rate):,.0f} residues/s from second {run.rate[0].seconds:,.1f} "
        f"to {run.rate[-1].seconds:,.1f}, between {min(rates):,.0f} and {max(rates):,.0f} in {len(rates):,} intervals."
    )
