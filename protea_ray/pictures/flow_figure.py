"""Where the records of a run went, as bars that follow each other and end where the first one ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protea_ray.pictures.store_data import Flow, RunFacts
from protea_ray.pictures.style import (
    BLUE,
    GREY,
    ORANGE,
    SKY,
    YELLOW,
    blank_figure,
    count_axis,
    drawing,
    label,
    named_rows,
    new_figure,
)

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

TITLE = "Where the records went"
# field of Flow, in words, colour
PLACES = (
    ("stored", "stored", BLUE),
    ("already_present", "already present", SKY),
    ("duplicate", "duplicate", YELLOW),
    ("rejected", "rejected", ORANGE),
)
_MOST = 8  # spaces; those beyond are counted in words


def draw_flow(run: RunFacts | None) -> DescribedFigure:
    """Draw a panel for each space of the run. Raises ConfigError without matplotlib."""
    flows = run.flows[:_MOST] if run else ()
    if not run or not flows:
        return blank_figure(TITLE, describe_flow(run))
    more = f", {len(run.flows) - _MOST:,} more spaces not shown" if len(run.flows) > _MOST else ""
    with drawing():
        figure = new_figure(f"{TITLE}: run {run.run}{more}", describe_flow(run), 8.0, 0.9 + 1.7 * len(flows))
        panels = figure.subplots(len(flows), 1, sharex=True, squeeze=False)[:, 0]
        for axes, flow in zip(panels, flows, strict=True):
            _panel(axes, flow)
        panels[-1].set_xlabel("records")
        count_axis(panels[-1].xaxis)
    return figure


def _panel(axes: Any, flow: Flow) -> None:
    """The sum of the records, then each place from where the one before it ended."""
    counts = [flow.records, *(getattr(flow, name) for name, _, _ in PLACES)]
    begins = [0, *(sum(counts[1:place]) for place in range(1, len(counts)))]
    bars = axes.barh(range(len(counts)), counts, left=begins, color=[GREY, *(one[2] for one in PLACES)], height=0.75)
    axes.bar_label(bars, [_count(count, flow.records) for count in counts], padding=3, fontsize=8)
    named_rows(axes, ["records", *(words for _, words, _ in PLACES)])
    axes.set_xlim(0, 1.25 * max(flow.records, 1))
    axes.set_title(label(flow.space, 80), loc="left", fontsize=9)


def _count(count: int, records: int) -> str:
    return f"{count:,} ({count / records:.1%})" if 0 < count < records else f"{count:,}"


def describe_flow(run: RunFacts | None) -> str:
    """The bars in sentences, one for each space."""
    if run is None:
        return "No run has recorded where its records went."
    if not run.flows:
        return f"Where the records of run {run.run} ({run.kind}) went was not recorded."
    return f"Run {run.run}. " + " ".join(flow_sentence(flow) for flow in run.flows)


def flow_sentence(flow: Flow) -> str:
    """Where the records of one space went, in a sentence."""
    places = ", ".join(f"{getattr(flow, name):,} {words}" for name, words, _ in PLACES)
    return f"{flow.space}: of {flow.records:,} records {places}."
