"""The map as a Bokeh figure without points: the page's script fills it, so that 100,000 of them are stored once."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Range1d, TapTool

from protea_ray.pictures.map_data import SpaceMap
from protea_ray.reporting.charts import plot

HEIGHT = 560  # pixels
MANY = 20_000  # points, from which dots are smaller and let those below shine through
_MARGIN = 0.04  # of the width
_COLUMNS = ("x", "y", "id", "description", "length", "value", "colour")


def map_chart(shown: SpaceMap) -> Any:
    """A scatter plot to pan, zoom, hover and click; None where there is nothing to draw."""
    if not len(shown.ids):
        return None
    first, second = axis_labels(shown)
    drawn = plot(
        HEIGHT, x_axis_label=first, y_axis_label=second, tools="pan,wheel_zoom,box_zoom,tap,reset,save",
        toolbar_location="above", output_backend="webgl", name="map", x_range=_range(shown.x), y_range=_range(shown.y),
    )  # fmt: skip
    many = len(shown.ids) > MANY
    source = ColumnDataSource({name: [] for name in _COLUMNS}, name="map-points")
    dots = drawn.scatter(
        "x", "y", source=source, size=4 if many else 7, fill_color="colour", line_color=None,
        fill_alpha=0.6 if many else 0.85, selection_line_color="#000000", selection_line_width=2,
        nonselection_fill_alpha=0.6 if many else 0.85, name="map-dots",
    )  # fmt: skip
    marked = ColumnDataSource({"x": [], "y": [], "kind": []}, name="map-marked")
    drawn.scatter("x", "y", source=marked, size=15, fill_color=None, line_color="#000000", line_width=2,
                  name="map-rings")  # fmt: skip
    tips = [("", "@id"), ("", "@description"), ("length", "@length{0,0}"), ("", "@value")]
    drawn.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    drawn.select_one(TapTool).renderers = [dots]
    drawn.toolbar.logo = None
    drawn.xgrid.visible = drawn.ygrid.visible = False
    drawn.axis.ticker.desired_num_ticks = 4
    return drawn


def _range(places: np.ndarray) -> Range1d:
    """All places and a margin on both sides."""
    low, high = float(places.min()), float(places.max())
    margin = (high - low) * _MARGIN or 1.0
    return Range1d(start=low - margin, end=high + margin)


def axis_labels(shown: SpaceMap) -> tuple[str, str]:
    """What the two axes are, with their share of the variance where they have one."""
    if shown.explained is None:
        return "UMAP 1", "UMAP 2"
    first, second = (f"component {n} ({share:.0%} of the variance)" for n, share in enumerate(shown.explained, 1))
    return first, second
