"""A map of a space, every protein a point, coloured by one column."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from protea_ray.display import printable
from protea_ray.pictures.colours import MOST_CLASSES, UNKNOWN, UNKNOWN_COLOUR, colour_classes
from protea_ray.pictures.figure_files import drawing
from protea_ray.pictures.map_data import LENGTH, MapColumn, SpaceMap, require_column
from protea_ray.pictures.style import GREY, blank_figure, label, marker_of, new_figure, panel

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

_IN_WORDS = {LENGTH: "length, residues"}  # columns whose unit is known
_LOGARITHMIC = 20  # the largest by the smallest value, from which a scale of colours is logarithmic
_AS_SHAPES = 5_000  # points: more become one picture inside an SVG, for a browser is slow with so many shapes
_DARKEST = 0.9  # share of the colour map that is used: its last yellows are hard to see on white
_NOTES, _LINE = 5, 125  # lines of notes, and letters in one


def draw_map(found: SpaceMap, colour: str = LENGTH, *, most: int = MOST_CLASSES) -> DescribedFigure:
    """Draw a map coloured by the column of that name, at most `most` classes with a colour each.

    Raises ConfigError for a column that the map does not have, and without matplotlib.
    """
    column = column_of(found, colour)
    title = f"{printable(found.space[:60])} at version {found.version:,}: {printable(found.model[:60])}"
    if not len(found.ids):
        return blank_figure(title, describe_map(found, colour))
    with drawing():
        figure = new_figure(title, describe_map(found, colour), 8.0, 6.0)
        axes = figure.subplots()
        panel(axes, _counted(found), *axis_names(found))
        axes.set_aspect("equal", adjustable="datalim")
        points = np.column_stack([found.x, found.y]).astype(np.float64)
        style = {"s": float(np.clip(6_000 / len(points), 2, 28)), "linewidths": 0}
        style["rasterized"] = len(points) > _AS_SHAPES
        if isinstance(column.values, np.ndarray):
            _draw_scale(figure, axes, points, column, style)
        else:
            _draw_classes(figure, axes, points, column, most, style)
        if notes := _note_lines(found):
            figure.supxlabel("\n".join(notes), fontsize=7, color=GREY)
    return figure


def column_of(found: SpaceMap, name: str) -> MapColumn:
    """The column of that name; raises ConfigError that lists what there is."""
    names = [column.name for column in found.columns]
    require_column(names, name)
    return found.columns[names.index(name)]


def axis_names(found: SpaceMap) -> tuple[str, str]:
    """What the two axes are, with the share of the variance where it is known."""
    if found.method == "umap":
        return "UMAP 1", "UMAP 2"
    shares = [f" ({share:.1%} of the variance)" for share in found.explained] if found.explained else ["", ""]
    return f"principal component 1{shares[0]}", f"principal component 2{shares[1]}"


def _counted(found: SpaceMap) -> str:
    shown = f"{len(found.ids):,} of {found.total:,}" if found.sampled else f"{found.total:,}"
    return f"{shown} protein{'s' * (found.total != 1)}, pooling {label(found.pooling, 20)}"


def _draw_scale(figure: Any, axes: Any, points: np.ndarray, column: MapColumn, style: dict[str, Any]) -> None:
    """Points by a number, the unknown ones grey and beneath."""
    values = np.asarray(column.values, np.float64)
    known = np.isfinite(values)
    if not known.all():
        axes.scatter(*points[~known].T, color=UNKNOWN_COLOUR, label=f"{UNKNOWN} ({(~known).sum():,})", **style)
        figure.legend(loc="outside upper right", frameon=False, markerscale=1.5)
    if not known.any():
        return
    drawn = axes.scatter(*points[known].T, c=values[known], cmap=_colour_map(), norm=_norm(values[known]), **style)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, format=lambda value, _: f"{value:,.6g}")
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label(_IN_WORDS.get(column.name, label(column.name)))


def _colour_map() -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis"](np.linspace(0, _DARKEST, 256)))


def _norm(values: np.ndarray) -> Any:
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(values.min()), float(values.max())
    return LogNorm(low, high) if low > 0 and high > _LOGARITHMIC * low else Normalize(low, high)


def _draw_classes(
    figure: Any, axes: Any, points: np.ndarray, column: MapColumn, most: int, style: dict[str, Any]
) -> None:
    """Points by class, the rare ones above, with a marker and a colour of their own and their number in the legend."""
    classes = colour_classes(list(column.values), most)
    drawn: dict[int, Any] = {}
    for place in sorted(range(len(classes.names)), key=lambda place: -classes.counts[place]):
        mine = points[classes.codes == place]
        drawn[place] = axes.scatter(*mine.T, color=classes.colours[place], marker=marker_of(place), **style)
    names = [f" {label(classes.names[place], 28)} ({classes.counts[place]:,})" for place in sorted(drawn)]
    handles = [drawn[place] for place in sorted(drawn)]  # a name begins with a blank: "_" would hide it
    figure.legend(handles, names, loc="outside right upper", frameon=False, title=label(column.name, 28))


def _note_lines(found: SpaceMap) -> list[str]:
    lines = [line for note in found.notes for line in textwrap.wrap(label(note, 3 * _LINE), _LINE)]
    return lines if len(lines) <= _NOTES else [*lines[: _NOTES - 1], f"{len(lines) - _NOTES + 1:,} more lines of notes"]


def describe_map(found: SpaceMap, colour: str = LENGTH) -> str:
    """The map in sentences: what is drawn, what colours it, and its notes."""
    where = f"space {found.space} at version {found.version:,}"
    if not len(found.ids):
        return f"No protein has a vector in {where}."
    drawn = f"{_counted(found)}, of {where} (model {found.model}) in two dimensions by {found.method.upper()}"
    notes = "".join(f" {note[0].upper()}{note[1:]}." for note in found.notes if note)
    return printable(f"{drawn}, coloured by {colour}: {_values_in_words(column_of(found, colour))}.{notes}"[:2_000])


def _values_in_words(column: MapColumn) -> str:
    if isinstance(column.values, np.ndarray):
        known = column.values[np.isfinite(column.values)]
        unknown = len(column.values) - len(known)
        span = f"{known.min():,.6g} to {known.max():,.6g}" if len(known) else "no value is known"
        return span + (f", {unknown:,} unknown" if unknown else "")
    classes = colour_classes(column.values)
    return ", ".join(f"{name[:40]} {count:,}" for name, count in zip(classes.names, classes.counts, strict=True))
