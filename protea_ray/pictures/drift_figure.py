"""How far two spaces are apart by length of the protein: cosines of their vectors, and shared neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protea_ray.pictures.style import BLUE, GREY, ORANGE, blank_figure, drawing, label, new_figure, panel

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

TITLE = "Two spaces by length of the protein"


@dataclass(frozen=True)
class DriftBin:
    """Proteins of some lengths: mean and 5th percentile of the cosines (None: widths differ), overlap from 0 to 1."""

    residues: str
    proteins: int
    cosine_mean: float | None
    cosine_low: float | None
    overlap: float


@dataclass(frozen=True)
class DriftBins:
    """Two spaces by name, compared over `k` neighbours by length; unrelated spaces would share `chance` of them."""

    a: str
    b: str
    k: int
    chance: float
    whole: DriftBin
    bins: tuple[DriftBin, ...]


def draw_drift(found: DriftBins | None) -> DescribedFigure:
    """Draw cosines and the share of the same neighbours, by length. Raises ConfigError without matplotlib."""
    if found is None:
        return blank_figure(TITLE, describe_drift(found))
    rows = (found.whole, *found.bins)
    title = f"{label(found.a, 50)} beside {label(found.b, 50)}"
    with drawing():
        figure = new_figure(title, describe_drift(found), 9.0, 4.2)
        left, right = figure.subplots(1, 2)
        _cosines(left, rows)
        places = range(len(rows))
        right.bar(places, [row.overlap for row in rows], color=BLUE, width=0.7)
        right.axhline(found.chance, color=ORANGE, linestyle="--", label=f"unrelated spaces: {found.chance:.1%}")
        panel(right, f"the same among {found.k:,} neighbours", "residues, and proteins", "share")
        right.set_ylim(0, 1.0)
        right.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        for axes in (left, right):
            axes.set_xticks(places, [f"{row.residues}\n{row.proteins:,}" for row in rows], fontsize=7)
            axes.set_xlim(-0.6, len(rows) - 0.4)
            axes.grid(False, axis="x")
        figure.legend(loc="outside lower right", frameon=False)
    return figure


def _cosines(axes: Any, rows: Sequence[DriftBin]) -> None:
    """The mean as a point, and a line down to the 5th percentile."""
    panel(
        axes, "cosine of a protein's two vectors", "residues, and proteins", "cosine: mean, line to the 5th percentile"
    )
    means = [row.cosine_mean for row in rows]
    if any(mean is None for mean in means):
        axes.text(0.5, 0.5, "no cosine: the vectors differ in width", transform=axes.transAxes, ha="center", color=GREY)
        return
    below = [max(row.cosine_mean - row.cosine_low, 0) for row in rows]  # type: ignore[operator]
    axes.errorbar(range(len(rows)), means, yerr=[below, [0] * len(rows)], fmt="o", color=BLUE, capsize=3)
    axes.margins(y=0.1)


def describe_drift(found: DriftBins | None) -> str:
    """The two panels in a sentence."""
    if found is None:
        return "No second space was compared."
    cosine = found.whole.cosine_mean
    said = "no cosine, for their vectors differ in width" if cosine is None else f"a mean cosine of {cosine:.4f}"
    return (
        f"{found.a} and {found.b} over {found.whole.proteins:,} proteins: {said}, and {found.whole.overlap:.1%} of "
        f"{found.k:,} neighbours the same, where unrelated spaces share {found.chance:.1%}."
    )
