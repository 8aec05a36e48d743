"""The report as a picture: what was asked for and what was found, and rates by length."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protea_ray.acceptance.verdicts import Line
from protea_ray.pictures.style import GREEN, GREY, INSTALL, ORANGE, PINK, drawable, plain_figure

COLOURS = {"ok": GREEN, "missed": ORANGE, "failed": PINK, "not run": GREY}
_BUCKET = re.compile(r"(?P<model>.+), (?P<low>[\d,]+)-(?P<high>[\d,]+) residues, residues/s")


def draw(lines: Sequence[Line], path: Path) -> str | None:
    """Write the picture; returns in words why there is none where matplotlib is missing."""
    if not drawable():
        return f"no picture: it needs matplotlib, {INSTALL}"
    judged = [line for line in lines if line.value is not None and line.tolerance and math.isfinite(line.value)]
    figure = plain_figure(14, 4 + 0.2 * len(judged))
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    _bounds(left, judged)
    _rates(right, lines)
    figure.savefig(path, dpi=100)
    return None


def _bounds(axes: Any, lines: Sequence[Line]) -> None:
    """Each value over its bound, below 1 good; a bound from below is turned round."""
    names = [f"{line.part}: {line.line}" for line in lines]
    shares = [_over(line) for line in lines]
    axes.barh(names, shares, color=[COLOURS[line.verdict] for line in lines])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("value over its bound (where more is better: the bound over the value)")


def _over(line: Line) -> float:
    assert line.value is not None and line.tolerance
    share = line.tolerance / line.value if line.at_least and line.value else line.value / line.tolerance
    return max(share, 1e-3)


def _rates(axes: Any, lines: Sequence[Line]) -> None:
    """Residues a second by length, ours and the sorted baseline."""
    found = [(m, line) for line in lines if (m := _BUCKET.fullmatch(line.line)) and line.value]
    ends = [int(m["high"].replace(",", "")) for m, _ in found]
    axes.plot(ends, [line.value for _, line in found], marker="o", label="protea_ray")
    axes.plot(ends, [line.baseline for _, line in found], marker="o", color=GREY, label="transformers, sorted")
    if found:
        axes.set_xscale("log", base=2)
        axes.legend()
    axes.set_title(found[0][0]["model"] if found else "no rates by length")
    axes.set_xlabel("residues, upper end")
    axes.set_ylabel("residues/s")
