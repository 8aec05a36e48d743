"""The lengths of a store's proteins as a histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protea_ray.pictures.store_data import LengthBin, StoreFacts
from protea_ray.pictures.style import BLUE, blank_figure, count_axis, drawing, new_figure, panel

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

TITLE = "Proteins by length"
_GROWING = 20  # the longest by the shortest, from which bins grow with the length and the axis is logarithmic


def draw_lengths(facts: StoreFacts) -> DescribedFigure:
    """Draw a bar for each bin of lengths, as wide as the bin. Raises ConfigError without matplotlib."""
    if not facts.lengths:
        return blank_figure(TITLE, describe_lengths(facts))
    with drawing():
        figure = new_figure(TITLE, describe_lengths(facts))
        axes = figure.subplots()
        ends = [_end(one, facts.longest) for one in facts.lengths]
        widths = [end - one.first for one, end in zip(facts.lengths, ends, strict=True)]
        axes.bar([one.first for one in facts.lengths], [one.proteins for one in facts.lengths], widths,
                 align="edge", color=BLUE, edgecolor="white", linewidth=0.5)  # fmt: skip
        panel(axes, f"{facts.proteins:,} proteins, {facts.residues:,} residues", "length, residues", "proteins")
        count_axis(axes.yaxis)
        if ends[-1] > _GROWING * facts.lengths[0].first:
            _logarithmic(axes, facts.lengths[0].first, ends[-1])
        else:
            count_axis(axes.xaxis)
    return figure


def _end(one: LengthBin, longest: int) -> int:
    """The length at which the next bin begins."""
    return 1 + (one.last if one.last is not None else max(longest, one.first))


def _logarithmic(axes: Any, first: int, end: int) -> None:
    axes.set_xscale("log")
    ticks = [tick for power in range(10) for step in (1, 2, 5) if first <= (tick := step * 10**power) < end]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()


def describe_lengths(facts: StoreFacts) -> str:
    """The histogram in a sentence."""
    if not facts.lengths:
        return "The store holds no proteins."
    most = max(facts.lengths, key=lambda one: one.proteins)
    upper = f"{most.first:,} and more" if most.last is None else f"{most.first:,} to {most.last:,}"
    return (
        f"{facts.proteins:,} proteins with {facts.residues:,} residues, the longest with {facts.longest:,}; "
        f"most of one bin, {most.proteins:,}, have {upper} residues."
    )
