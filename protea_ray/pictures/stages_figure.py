"""The stages of a run on one axis of time, one under the other; they may overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protea_ray.pictures.store_data import RunFacts
from protea_ray.pictures.style import BLUE, blank_figure, drawing, named_rows, new_figure

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

TITLE = "Where the time went"


def draw_stages(run: RunFacts | None) -> DescribedFigure:
    """Draw a bar for each stage, from its beginning to its end. Raises ConfigError without matplotlib."""
    if run is None or not run.stages:
        return blank_figure(TITLE, describe_stages(run))
    end = max(stage.begins + stage.seconds for stage in run.stages)
    with drawing():
        figure = new_figure(f"{TITLE}: run {run.run}", describe_stages(run), 8.0, 1.2 + 0.3 * len(run.stages))
        axes = figure.subplots()
        bars = axes.barh(range(len(run.stages)), [stage.seconds for stage in run.stages],
                         left=[stage.begins for stage in run.stages], color=BLUE, height=0.7)  # fmt: skip
        axes.bar_label(bars, [f"{stage.seconds:,.2f} s" for stage in run.stages], padding=3, fontsize=8)
        named_rows(axes, [stage.name for stage in run.stages])
        axes.set_xlim(0, 1.15 * end or 1)
        axes.set_xlabel("seconds since the command")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    return figure


def describe_stages(run: RunFacts | None) -> str:
    """The bars in a sentence."""
    if run is None:
        return "No run has recorded its stages."
    if not run.stages:
        return f"The stages of run {run.run} ({run.kind}) were not recorded."
    stages = ", ".join(f"{stage.name} {stage.seconds:,.2f} s" for stage in run.stages)
    return f"Run {run.run}: {stages}."
