"""The report's pictures as Bokeh figures: everything but the map. Each is drawn from plain values of pictures/.

Ink, grid and background are left to the page, which colours them for light and dark (assets/report.js).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.embed import json_item
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, NumeralTickFormatter, Span
from bokeh.plotting import figure

from protea_ray.pictures.store_data import Flow, LengthBin, RatePoint, RejectGroup, StageTime
from protea_ray.query.drift import Drift

FLOW = ("stored", "already present", "duplicate", "rejected")
FLOW_COLOURS = ("#217ac8", "#8a94a6", "#a66f00", "#d43d51")
BAR, LINE = "#217ac8", "#217ac8"
SECOND = "#c2570c"
_ROW = 34  # pixels of a horizontal bar
_LEGEND = 30
_AXES = 70  # pixels of axis and labels
FONT = "system-ui, sans-serif"


def chart_items(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Each figure as the JSON that BokehJS embeds; figures that are None are left out."""
    return {name: dict(json_item(drawn)) for name, drawn in figures.items() if drawn is not None}


def plot(height: int, **options: Any) -> Any:
    """An empty figure as wide as its place, without a toolbar and without colours of its own."""
    drawn = figure(
        height=height, sizing_mode="stretch_width", background_fill_color=None, border_fill_color=None,
        outline_line_color=None, toolbar_location=options.pop("toolbar_location", None), min_border_right=16,
        tools=options.pop("tools", ""), **options,
    )  # fmt: skip
    drawn.axis.major_label_text_font = drawn.axis.axis_label_text_font = FONT
    drawn.axis.axis_label_text_font_style = "normal"
    drawn.axis.major_label_text_font_size = drawn.axis.axis_label_text_font_size = "13px"
    drawn.axis.minor_tick_line_color = None
    return drawn


def _counts(axis: Any) -> None:
    """An axis of whole numbers: no tick between two of them."""
    axis.formatter = NumeralTickFormatter(format="0,0")
    axis.ticker = BasicTicker(min_interval=1)


def flow_chart(flows: Sequence[Flow]) -> Any:
    """Where the records of a run went: one bar for each space, its parts one after the other."""
    if not any(flow.records for flow in flows):
        return None
    spaces = [flow.space for flow in flows]
    values = [[f.stored for f in flows], [f.already_present for f in flows], [f.duplicate for f in flows],
              [f.rejected for f in flows]]  # fmt: skip
    data = {"space": spaces, **dict(zip(FLOW, values, strict=True))}
    drawn = plot(_AXES + _LEGEND + _ROW * len(flows), y_range=spaces[::-1], x_axis_label="records")
    bars = drawn.hbar_stack(FLOW, y="space", height=0.62, color=FLOW_COLOURS, source=ColumnDataSource(data),
                            legend_label=list(FLOW))  # fmt: skip
    drawn.add_layout(drawn.legend[0], "above")
    drawn.legend.update(orientation="horizontal", background_fill_color=None, border_line_color=None,
                        label_text_font=FONT, label_text_font_size="13px", margin=0, padding=2)  # fmt: skip
    for name, bar in zip(FLOW, bars, strict=True):
        drawn.add_tools(HoverTool(renderers=[bar], tooltips=[(name, f"@{{{name}}}{{0,0}}"), ("space", "@space")]))
    drawn.x_range.start = 0
    _counts(drawn.xaxis)
    drawn.ygrid.visible = False
    return drawn


def rate_chart(points: Sequence[RatePoint]) -> Any:
    """Residues per second over the time of a run, as steps."""
    if len(points) < 2:
        return None
    ends = [point.seconds for point in points]
    rates = [point.residues_per_second for point in points[1:]]
    drawn = plot(240, x_axis_label="seconds since the command", y_axis_label="residues/s")
    data = ColumnDataSource({"left": ends[:-1], "right": ends[1:], "top": rates})
    bars = drawn.quad(left="left", right="right", top="top", bottom=0, source=data, color=LINE, line_width=0)
    tips = [("from", "@left{0,0.0} s"), ("to", "@right{0,0.0} s"), ("residues/s", "@top{0,0}")]
    drawn.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    drawn.y_range.start = 0
    drawn.yaxis.formatter = NumeralTickFormatter(format="0,0")
    return drawn


def stage_chart(stages: Sequence[StageTime]) -> Any:
    """The stages of a run, each a bar from its beginning to its end."""
    if not stages:
        return None
    names = list(dict.fromkeys(stage.name for stage in stages))
    data = ColumnDataSource(
        {
            "name": [s.name for s in stages], "begins": [s.begins for s in stages],
            "ends": [s.begins + s.seconds for s in stages], "seconds": [s.seconds for s in stages],
        }
    )  # fmt: skip
    drawn = plot(_AXES + 26 * len(names), y_range=names[::-1], x_axis_label="seconds since the command")
    bars = drawn.hbar(y="name", left="begins", right="ends", height=0.6, source=data, color=BAR)
    drawn.add_tools(HoverTool(renderers=[bars], tooltips=[("stage", "@name"), ("took", "@seconds{0,0.00} s")]))
    drawn.x_range.start = 0
    drawn.ygrid.visible = False
    return drawn


def length_chart(bins: Sequence[LengthBin]) -> Any:
    """Protein records by length; the axis is logarithmic where the bins grow."""
    if not bins:
        return None
    widths = {(bin.last or bin.first) - bin.first for bin in bins[1:-1]}
    logarithmic = len(widths) > 1 and bins[0].first > 0
    drawn = plot(260, x_axis_label="residues", y_axis_label="proteins",
                 x_axis_type="log" if logarithmic else "linear")  # fmt: skip
    data = ColumnDataSource(
        {
            "left": [b.first for b in bins], "right": [(b.last if b.last is not None else b.first) + 1 for b in bins],
            "last": [b.last for b in bins], "top": [b.proteins for b in bins],
        }
    )  # fmt: skip
    bars = drawn.quad(left="left", right="right", top="top", bottom=0, source=data, color=BAR, line_color=None)
    tips = [("residues", "@left{0,0} to @last{0,0}"), ("proteins", "@top{0,0}")]
    drawn.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    drawn.y_range.start = 0
    drawn.xaxis.formatter = NumeralTickFormatter(format="0,0")
    _counts(drawn.yaxis)
    return drawn


def reject_chart(groups: Sequence[RejectGroup]) -> Any:
    """Rejects by reason, the most frequent at the top."""
    if not groups:
        return None
    reasons = [group.reason for group in groups]
    data = ColumnDataSource(
        {"reason": reasons, "count": [g.count for g in groups], "meaning": [g.meaning for g in groups]}
    )
    drawn = plot(_AXES + _ROW * len(groups), y_range=reasons[::-1], x_axis_label="rejects")
    bars = drawn.hbar(y="reason", right="count", height=0.62, source=data, color=FLOW_COLOURS[3])
    tips = [("reason", "@reason"), ("rejects", "@count{0,0}"), ("", "@meaning")]
    drawn.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    drawn.x_range.start = 0
    _counts(drawn.xaxis)
    drawn.ygrid.visible = False
    return drawn


def drift_chart(found: Drift) -> Any:
    """Shared neighbours, and the mean cosine where the spaces have one width, by length; chance as a line."""
    lengths = [agreement.residues for agreement in found.buckets]
    if not lengths:
        return None
    cosines = [agreement.cosine_mean for agreement in found.buckets]
    data = {
        "residues": lengths, "overlap": [a.overlap for a in found.buckets],
        "proteins": [a.proteins for a in found.buckets], "cosine": cosines,
    }  # fmt: skip
    drawn = plot(280, x_range=lengths, y_range=(min(0.0, *(c for c in cosines if c is not None), 0.0), 1.05),
                 x_axis_label="residues", y_axis_label="share, cosine")  # fmt: skip
    source = ColumnDataSource(data)
    bars = drawn.vbar(x="residues", top="overlap", width=0.5, source=source, color=BAR)
    tips = [("residues", "@residues"), ("neighbours shared", "@overlap{0.0 %}"), ("proteins", "@proteins{0,0}")]
    drawn.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    if all(cosine is not None for cosine in cosines):
        dots = drawn.scatter(x="residues", y="cosine", size=11, marker="diamond", source=source, color=SECOND)
        drawn.add_tools(HoverTool(renderers=[dots], tooltips=[("mean cosine", "@cosine{0.0000}")]))
    drawn.add_layout(Span(location=found.chance, dimension="width", line_dash="dashed", line_color="#8a94a6"))
    drawn.xgrid.visible = False
    return drawn
