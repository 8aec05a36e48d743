"""The rejects of a store by reason, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from protea_ray.pictures.store_data import RejectGroup
from protea_ray.pictures.style import ORANGE, blank_figure, count_axis, drawing, named_rows, new_figure

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

TITLE = "Rejected records by reason"
_MOST = 20  # rows


def draw_rejects(groups: Sequence[RejectGroup]) -> DescribedFigure:
    """Draw a bar for each reason, the most frequent above. Raises ConfigError without matplotlib."""
    if not groups:
        return blank_figure(TITLE, describe_rejects(groups))
    rows = _rows(groups)
    with drawing():
        figure = new_figure(TITLE, describe_rejects(groups), 8.0, 1.2 + 0.35 * len(rows))
        axes = figure.subplots()
        bars = axes.barh(range(len(rows)), [count for _, count in rows], color=ORANGE, height=0.7)
        axes.bar_label(bars, [f"{count:,}" for _, count in rows], padding=3, fontsize=8)
        named_rows(axes, [name for name, _ in rows], 60)
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        axes.set_xlabel("records")
        count_axis(axes.xaxis)
    return figure


def _rows(groups: Sequence[RejectGroup]) -> list[tuple[str, int]]:
    """Reason and count, the most frequent first; what is beyond the last row in one."""
    found = sorted(((group.reason, group.count) for group in groups), key=lambda row: -row[1])
    rest = found[_MOST:]
    return found[:_MOST] + ([(f"{len(rest):,} other reasons", sum(count for _, count in rest))] if rest else [])


def describe_rejects(groups: Sequence[RejectGroup]) -> str:
    """The bars in a sentence."""
    if not groups:
        return "No record was rejected."
    counts = ", ".join(f"{name} {count:,}" for name, count in _rows(groups))
    return f"{sum(group.count for group in groups):,} records were rejected: {counts}."
