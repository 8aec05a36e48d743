"""A comparison as pictures: nearness to exact attention by layer, masked loss by length, time and memory by length.

A variant has the same colour and marker in all of them, those of the evaluation's pictures; names are never cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from protea_ray.comparison.compared_rows import LossRow
from protea_ray.comparison.compared_variant import WINDOWS
from protea_ray.comparison.exponents import Exponent
from protea_ray.comparison.measured_variants import MeasuredVariants
from protea_ray.comparison.variant_cost import CostRow, cost_exponents
from protea_ray.comparison.variant_verdicts import LEAST_NATS
from protea_ray.pictures.style import grid_of_panels, look_of, panel, save_with_legend

_CLOSE = 1.3  # ticks of lengths whose ratio is smaller would be written over each other
_LINES = {"linestyle": "-", "linewidth": 1.0, "markersize": 4}


def draw_fidelity(found: MeasuredVariants, path: Path) -> bool:
    """Draw the relative error of residues by layer, a panel for each bin; False where there is nothing to draw."""
    rows = [row for row in found.fidelity if row.relative_error]
    bins = sorted({row.bin for row in rows})
    if not bins:
        return False
    names = _there(found, {row.variant for row in rows})
    figure, axes = grid_of_panels(len(bins), len(names))
    for one, bin in zip(axes, bins, strict=False):
        for name in names:
            own = sorted((r.layer, r.relative_error) for r in rows if (r.variant, r.bin) == (name, bin))
            if own:
                one.errorbar(*zip(*own, strict=True), label=name, **_style(found, name))
        proteins = max(row.proteins for row in rows if row.bin == bin)
        panel(one, f"up to {bin:,} residues, n = {proteins:,}", "layers before the last", "relative error")
        one.set_yscale("log")
        one.invert_xaxis()
        one.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle("Residues beside those of exact attention, by layer; lower is nearer", fontsize=10)
    save_with_legend(figure, axes[: len(bins)], path, len(names))
    return True


def draw_losses(found: MeasuredVariants, path: Path) -> bool:
    """Draw the masked loss by length, and its difference to the default; False where there is nothing to draw."""
    rows = [row for row in found.loss if row.nats is not None]
    if not rows:
        return False
    names = _there(found, {row.variant for row in rows})
    figure, (left, right) = grid_of_panels(2, len(names))
    for name in names:
        own = sorted((row for row in rows if row.variant == name), key=lambda row: row.bin)
        _loss_line(left, own, [row.nats for row in own], [row.standard_error for row in own], _style(found, name))
        if name != WINDOWS:
            errors = [None if row.difference_se is None else 2 * row.difference_se for row in own]
            _loss_line(right, own, [row.difference for row in own], errors, _style(found, name))
    for one, title, unit in (
        (left, "masked loss; bars: standard error", "nats"),
        (right, f"minus that of {WINDOWS}, paired; bars: two standard errors", "nats, logarithmic beyond the band"),
    ):  # fmt: skip
        panel(one, title, "residues, at most", unit)
        _length_axis(one, found.trained_length, [row.bin for row in rows])
    right.set_yscale("symlog", linthresh=LEAST_NATS, linscale=0.7)
    right.axhspan(-LEAST_NATS, LEAST_NATS, color="#eeeeee", zorder=0)
    right.axhline(0, color="black", linewidth=0.8, zorder=0)
    figure.suptitle("Masked loss by length of the protein; dotted: longest trained on; lower is better", fontsize=10)
    save_with_legend(figure, (left, right), path, len(names))
    return True


def draw_costs(found: MeasuredVariants, path: Path) -> bool:
    """Draw time and memory by length, the exponents in the legend; False where there is nothing to draw."""
    rows = [row for row in found.cost if row.seconds]
    if not rows:
        return False
    names = _there(found, {row.variant for row in rows})
    grows = {one.variant: one for one in cost_exponents(rows)}
    figure, (left, right) = grid_of_panels(2, len(names))
    for name in names:
        own = sorted((row for row in rows if row.variant == name), key=lambda row: row.length)
        label = f"{name}: time {_exponent(grows[name].seconds)}, memory {_exponent(grows[name].memory)}"
        style = _style(found, name) | {"label": label}
        _cost_line(left, own, lambda row: row.seconds, style)
        _cost_line(right, own, lambda row: row.peak_bytes and row.peak_bytes / 1e6, style)
    clock = "CPU seconds of one thread" if rows[0].device == "cpu" else "seconds on the GPU"
    for one, title, unit in ((left, "time", clock), (right, "memory above the loaded model", "MB")):
        panel(one, title, "residues", unit)
        _length_axis(one, None, [row.length for row in rows])
        one.set_yscale("log")
    figure.suptitle("One protein through the model; in the legend: exponents of length", fontsize=10)
    save_with_legend(figure, (left, right), path, len(names))
    return True


def _there(found: MeasuredVariants, drawn: set[str]) -> list[str]:
    return [name for name in found.names if name in drawn]


def _style(found: MeasuredVariants, name: str) -> dict[str, Any]:
    """Keywords of errorbar for a variant, the same in every picture."""
    return look_of(found.names.index(name)).style() | _LINES


def _loss_line(
    axes: Any, rows: Sequence[LossRow], values: Sequence[float | None], errors: Sequence[float | None],
    style: dict[str, Any],
) -> None:  # fmt: skip
    """One variant by bin; a value without an error, of one protein, has no bar."""
    points = [(row.bin, value, error or 0.0) for row, value, error in zip(rows, values, errors, strict=True)
              if value is not None]  # fmt: skip
    if points:
        x, y, bars = zip(*points, strict=True)
        axes.errorbar(x, y, yerr=bars, label=rows[0].variant, **style)


def _cost_line(
    axes: Any, rows: Sequence[CostRow], of: Callable[[CostRow], float | None], style: dict[str, Any]
) -> None:
    points = [(row.length, value) for row in rows if (value := of(row))]
    if points:
        axes.errorbar(*zip(*points, strict=True), **style)


def _length_axis(axes: Any, trained: int | None, lengths: Sequence[int]) -> None:
    """A logarithmic axis with a tick at every length that was measured, but for those too close to the next."""
    axes.set_xscale("log")
    ticks: list[int] = []
    for length in sorted(set(lengths), reverse=True):
        if not ticks or ticks[-1] / length > _CLOSE:
            ticks.append(length)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=7, rotation=45)
    axes.minorticks_off()
    if trained:
        axes.axvline(trained, color="black", linewidth=0.8, linestyle=":", zorder=0)


def _exponent(found: Exponent | None) -> str:
    return f"{found.value:.2f}" if found else "-"
