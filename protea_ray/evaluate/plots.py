"""The tables as pictures: normalised scores, scores by length, layers. matplotlib is in the extra `evaluate`.

Every point has the bar of its 95 % interval over tested proteins, every input a colour and a marker of its own (Okabe
and Ito's colours, which differ for colour-blind eyes too); controls are hollow and grey. Names are never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from protea_ray.config.length_groups import group_in_words, shortest_of
from protea_ray.evaluate.tables.estimates import Estimate, InputFacts
from protea_ray.evaluate.tables.layers import LayerTable, OfLayer
from protea_ray.evaluate.tables.lengths import FEW, LengthTable, OfLength
from protea_ray.evaluate.tables.normalised import Normalised, NormalisedTable
from protea_ray.pictures.style import GREY, GRID, Look, grid_of_panels, look_of, plain_figure, save_with_legend

INSTALL = 'pip install "protea-ray[evaluate]"'
_HOLLOW = "o^sDv"
_BARS = "bars: 95 % interval over tested proteins"


def looks(inputs: Sequence[InputFacts]) -> dict[InputFacts, Look]:
    """A look for each input."""
    subjects = [given for given in inputs if not given.control]
    controls = [given for given in inputs if given.control]
    found = {subject: look_of(n) for n, subject in enumerate(subjects)}
    return found | {c: Look(GREY, _HOLLOW[n % len(_HOLLOW)], True) for n, c in enumerate(controls)}


def _unique(inputs: Sequence[InputFacts]) -> list[InputFacts]:
    return list(dict.fromkeys(inputs))


def _spread(entries: int, room: float = 0.7) -> list[float]:
    """Offsets around 0 by which the points of one row are set apart."""
    step = room / max(entries, 1)
    return [step * (n - (entries - 1) / 2) for n in range(entries)]


def _bar(found: Estimate) -> list[list[float]] | None:
    """Lengths of the bar below and above a value; never negative, for an interval need not hold the mean."""
    if found.interval is None:
        return None
    low, high = found.interval
    return [[max(found.value - low, 0.0)], [max(high - found.value, 0.0)]]


def draw_normalised(tables: Sequence[NormalisedTable], path: Path) -> bool:
    """Draw n by task and its mean over tasks, a panel for each probe; False where there is nothing to draw."""
    tables = [table for table in tables if any(value.n is not None for value in table.values)]
    if not tables:
        return False
    inputs = _unique([mean.given for table in tables for mean in table.means])
    tasks = list(dict.fromkeys(value.task.name for table in tables for value in table.values))
    height = 1.6 + (0.25 + 0.13 * len(inputs)) * (len(tasks) + 1) + 0.2 * len(inputs) / (2 if len(inputs) > 3 else 1)
    figure = plain_figure(2.4 + 4.3 * len(tables), height)
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    for number, (one, table) in enumerate(zip(axes, tables, strict=True)):
        _normalised_panel(one, table, tasks, inputs)
        ends = [_ends([value for value in table.values if value.task.name == name]) for name in tasks]
        names = [f"{name}\n{end}" for name, end in zip(tasks, ends, strict=True)] if number == 0 else ends
        one.set_yticks(range(len(tasks) + 1), [*names, "" if number else "mean over tasks"], fontsize=8)
        one.set_ylim(len(tasks) + 0.5, -0.5)
    figure.suptitle(
        "n: 0 is random vectors of the same width, 1 the best input; bars: 95 % interval of a - a of random vectors,\n"
        "paired over tested proteins; beside each task: raw a of random vectors and of the best",
        fontsize=9,
    )
    save_with_legend(figure, axes, path, len(inputs))
    return True


def _normalised_panel(axes: Any, table: NormalisedTable, tasks: Sequence[str], inputs: Sequence[InputFacts]) -> None:
    look, offset = looks(inputs), dict(zip(inputs, _spread(len(inputs)), strict=True))
    by_task = {name: [value for value in table.values if value.task.name == name] for name in tasks}
    for row, values in enumerate(by_task.values()):
        if values and all(value.noise is not False for value in values):
            axes.text(0.5, row, "range is noise or unknown", ha="center", va="center", fontsize=8, color=GREY)
            continue
        for value in values:
            if value.given in look and value.n is not None:
                style = look[value.given].style()
                axes.errorbar(value.n, row + offset[value.given], xerr=_n_bar(value), label=value.given.shown, **style)
    for mean in table.means:
        if mean.n is not None:
            style = look[mean.given].style() | {"markersize": 8}
            axes.errorbar(mean.n, len(tasks) + offset[mean.given], label=mean.given.shown, **style)
    for x, kind in ((0, ":"), (1, ":")):
        axes.axvline(x, color="black", linewidth=0.8, linestyle=kind, zorder=0)
    for edge in range(len(tasks)):
        axes.axhline(edge + 0.5, color="#cccccc" if edge < len(tasks) - 1 else "black", linewidth=0.7, zorder=0)
    axes.set_xlabel("n", fontsize=9)
    axes.set_title(f"{table.probe} probe", fontsize=10)


def _n_bar(value: Normalised) -> list[list[float]] | None:
    if value.n is None or value.n_low is None or value.n_high is None:
        return None
    return [[max(value.n - value.n_low, 0.0)], [max(value.n_high - value.n, 0.0)]]


def _ends(values: Sequence[Normalised]) -> str:
    """The raw a of random vectors and of the best: `a 0.330 to 0.539`."""
    reached = [value.a.value for value in values]
    zeros = [value.a.value for value in values if value.given.control == "random"]
    return f"a {min(zeros):.2f} to {max(reached):.2f}" if zeros else ""


def draw_lengths(table: LengthTable, path: Path) -> bool:
    """Draw the headline metric by length, a panel for each task; False where no task has two ranges."""
    panels = {name: values for name, values in _by_task(table.values) if len({v.subset for v in values}) > 1}
    if not panels:
        return False
    inputs = _unique([value.given for values in panels.values() for value in values])
    figure, axes = grid_of_panels(len(panels), len(inputs))
    for one, (name, values) in zip(axes, panels.items(), strict=False):
        _length_panel(one, name, values, inputs)
    figure.suptitle(f"By length of the protein, {table.probe} probe; {_BARS}", fontsize=10)
    save_with_legend(figure, axes[: len(panels)], path, len(inputs))
    return True


def _length_panel(axes: Any, name: str, values: Sequence[OfLength], inputs: Sequence[InputFacts]) -> None:
    look, offset = looks(inputs), dict(zip(inputs, _spread(len(inputs)), strict=True))
    counts = {value.subset: value.reached.count for value in values}
    there = sorted(counts, key=shortest_of)
    for value in values:
        x = there.index(value.subset) + offset[value.given]
        style = look[value.given].style()
        axes.errorbar(x, value.reached.value, yerr=_bar(value.reached), label=value.given.shown, **style)
    few = {subset: f" (< {FEW})" if count < FEW else "" for subset, count in counts.items()}
    ticks = [f"{group_in_words(subset)}\nn = {counts[subset]:,}{few[subset]}" for subset in there]
    axes.set_xticks(range(len(there)), ticks, fontsize=8)
    axes.set_xlabel("residues, and tested proteins", fontsize=8)
    axes.set_ylabel(values[0].task.metric, fontsize=9)
    axes.set_title(name, fontsize=10)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def draw_layers(table: LayerTable, path: Path) -> bool:
    """Draw the headline metric by layer, a panel for each task and a line for each model; False for an empty table."""
    panels = dict(_by_task(table.values))
    if not panels:
        return False
    models = list(dict.fromkeys(value.model for value in table.values))
    figure, axes = grid_of_panels(len(panels), len(models))
    for one, (name, values) in zip(axes, panels.items(), strict=False):
        _layer_panel(one, name, values, models)
    figure.suptitle(
        f"By layer, {table.probe} probe; {_BARS}; ring: highest\n(a difference has its own interval: see the table)",
        fontsize=10,
    )
    save_with_legend(figure, axes[: len(panels)], path, len(models))
    return True


def _layer_panel(axes: Any, name: str, values: Sequence[OfLayer], models: Sequence[str]) -> None:
    there = sorted({value.layers for value in values}, reverse=True)
    for number, (model, apart) in enumerate(zip(models, _spread(len(models), 0.2), strict=True)):
        if not any(v.model == model for v in values):
            continue
        own = sorted((v for v in values if v.model == model), key=lambda v: there.index(v.layers))
        style = look_of(number).style() | {"linestyle": "-", "linewidth": 1.0}
        places, reached = [there.index(v.layers) + apart for v in own], [v.reached.value for v in own]
        bars = [_bar(v.reached) or [[0.0], [0.0]] for v in own]
        axes.errorbar(places, reached, yerr=[[b[side][0] for b in bars] for side in (0, 1)], label=model, **style)
        best = [(there.index(v.layers) + apart, v.reached.value) for v in own if v.best]
        axes.plot(*zip(*best, strict=True), "o", markersize=12, markerfacecolor="none", markeredgecolor=style["color"])
    axes.set_xticks(range(len(there)), [_layer_name(layers) for layers in there], fontsize=8)
    axes.set_xlabel("layers before the last", fontsize=8)
    axes.set_ylabel(values[0].task.metric, fontsize=9)
    axes.set_title(name, fontsize=10)
    axes.margins(x=0.15)
    axes.grid(axis="y", color=GRID, linewidth=0.7)


def _layer_name(layers: tuple[int, ...]) -> str:
    return "last" if layers == (0,) else ",".join(map(str, layers))


def _by_task(values: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """The rows of each task, in the table's order."""
    grouped: Mapping[str, list[Any]] = {value.task.name: [] for value in values}
    for value in values:
        grouped[value.task.name].append(value)
    yield from grouped.items()
