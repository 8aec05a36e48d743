"""The pictures of a report as files, PNG and SVG of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from protea_ray.errors import ConfigError
from protea_ray.pictures.drift_figure import draw_drift
from protea_ray.pictures.figure_files import write_figure
from protea_ray.pictures.flow_figure import draw_flow
from protea_ray.pictures.lengths_figure import draw_lengths
from protea_ray.pictures.map_data import LENGTH, SpaceMap
from protea_ray.pictures.map_figure import draw_map
from protea_ray.pictures.rate_figure import draw_rate
from protea_ray.pictures.rejects_figure import draw_rejects
from protea_ray.pictures.stages_figure import draw_stages
from protea_ray.pictures.store_data import StoreFacts
from protea_ray.pictures.style import require_matplotlib
from protea_ray.query.drift import Drift
from protea_ray.query.store_pictures import drift_bins, flow_run, rate_run, stages_run

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure

_FORMATS = ("png", "svg")


def write_figures(folder: Path, facts: StoreFacts, space_map: SpaceMap | None, drift: Drift | None) -> list[Path]:
    """Write every picture to `folder`, which is made where it is missing, and return the files.

    A map is drawn once for each of its columns. Raises ConfigError without matplotlib, and where `folder` is a file.
    """
    require_matplotlib()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; pictures are written to a folder", where="--figures")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in _figures(facts, space_map, drift):
        for kind in _FORMATS:
            files.append(folder / f"{name}.{kind}")
            write_figure(figure, files[-1], kind)
    return files


def _figures(
    facts: StoreFacts, space_map: SpaceMap | None, drift: Drift | None
) -> Iterator[tuple[str, DescribedFigure]]:  # fmt: skip
    """A file's name without its ending, and the figure, one at a time: a large map is not kept."""
    yield "lengths", draw_lengths(facts)
    yield "rejects", draw_rejects(facts.rejects)
    yield "flow", draw_flow(flow_run(facts.runs))
    yield "rate", draw_rate(rate_run(facts.runs))
    yield "stages", draw_stages(stages_run(facts.runs))
    if space_map is not None:
        for column, name in _map_names(space_map):
            yield name, draw_map(space_map, column)
    if drift is not None:
        yield "drift", draw_drift(drift_bins(drift))


def _map_names(space_map: SpaceMap) -> Iterator[tuple[str, str]]:
    """Each column with the name of its picture: the column's own, of letters that every file system takes, once."""
    used: set[str] = set()
    for number, column in enumerate(space_map.columns):
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", column.name)[:40]
        name = "map" if column.name == LENGTH else f"map-{name}"
        name = name if name.lower() not in used else f"{name}-{number}"
        used.add(name.lower())
        yield column.name, name
