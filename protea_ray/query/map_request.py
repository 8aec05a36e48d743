"""What a map is asked to show, checked whole before a vector is read: reading and placing them may take minutes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from protea_ray.errors import did_you_mean
from protea_ray.mistakes import Mistakes
from protea_ray.pictures.map_data import LENGTH, MapColumn, Method, require_column
from protea_ray.pictures.projection import umap_problem
from protea_ray.query.drift import draw, protein_keys
from protea_ray.query.map_columns import fields_as_columns, label_column_names, map_labels
from protea_ray.query.map_points import MapPoints, map_points
from protea_ray.query.search import pooling_of
from protea_ray.query.training.label_table import LabelSource
from protea_ray.query.training.labels import Labels
from protea_ray.query.view import Pin, View
from protea_ray.store.location import Location

LIMIT = 100_000  # points


@dataclass(frozen=True)
class MapOptions:
    """How a space is mapped. Of more than `limit` proteins the same `seed` draws the same ones.

    `pooling` None: mean, else the first. `labels` are a file or a table by id, of which `label_columns` (None: all)
    become columns. `colour` names a column that the map must have.
    """

    method: Method = "pca"
    pooling: str | None = None
    limit: int = LIMIT
    seed: int = 0
    labels: LabelSource | Labels | None = None
    label_columns: Sequence[str] | str | None = None
    colour: str | None = None


@dataclass(frozen=True)
class MapRequest:
    """A map that can be drawn: the open space, `points` of its `total` proteins, and what colours them.

    `fields` are the columns of descriptions and `labels` those of a user, each with sentences on where they are from.
    """

    view: View
    options: MapOptions
    pooling: str
    total: int
    points: MapPoints
    fields: tuple[list[MapColumn], list[str]]
    labels: tuple[Labels, list[str]] | None


def map_request(location: Location, space: str | Pin, options: MapOptions, mistakes: Mistakes) -> MapRequest:
    """Check what is asked of a space (name, alias or pin), and read the ids and descriptions of its points.

    Raises with what `mistakes` holds already: several are one ConfigError, a single one is what it is, ConfigError,
    InputError for the labels or UnknownSpaceError.
    """
    sampling = list(_sampling_problems(options))
    mistakes.add([*_option_problems(options), *sampling])
    view = mistakes.catch(lambda: View.open(location, space))
    pooling = mistakes.catch(lambda: pooling_of(view, options.pooling)) if view else None
    labels = _labels(options, mistakes)
    unread = options.labels is not None and labels is None
    if view is None or unread or sampling or options.colour in _sure_columns(labels):
        mistakes.tell()
    assert view is not None  # or `tell` has raised
    keys = protein_keys(view)
    points = map_points(view, draw(keys, options.limit, options.seed) if len(keys) > options.limit else keys)
    fields = fields_as_columns(points.descriptions)
    mistakes.catch(lambda: _require_colour(options.colour, fields[0], labels))
    mistakes.tell()
    assert pooling is not None
    return MapRequest(view, options, pooling, len(keys), points, fields, labels)


def _option_problems(options: MapOptions) -> Iterator[str]:
    method, methods = options.method, get_args(Method)
    if method not in methods:
        yield f"method is {method!r}{did_you_mean(str(method), methods)}; it is one of {', '.join(methods)}"
    elif method == "umap" and (problem := umap_problem()):
        yield problem
    if options.label_columns is not None and options.labels is None:
        yield "label_columns need labels"


def _sampling_problems(options: MapOptions) -> Iterator[str]:
    """Mistakes with which no points can be drawn, so that it is not known what the map would have."""
    if options.limit < 1:
        yield f"limit is {options.limit}; a map has at least 1 point"
    if not 0 <= options.seed < 2**32:
        yield f"seed is {options.seed}; it is 0 to {2**32 - 1}"


def _labels(options: MapOptions, mistakes: Mistakes) -> tuple[Labels, list[str]] | None:
    source = options.labels
    return None if source is None else mistakes.catch(lambda: map_labels(source, options.label_columns))


def _sure_columns(labels: tuple[Labels, list[str]] | None) -> list[str | None]:
    """The colours that no description need be read for: none in particular, length, and columns of labels."""
    return [None, LENGTH, *(labels[0].columns.column_names if labels else ())]


def _require_colour(colour: str | None, fields: Sequence[MapColumn], labels: tuple[Labels, list[str]] | None) -> None:
    if colour is None:
        return
    names = [LENGTH, *(column.name for column in fields)]
    require_column([*names, *(label_column_names(labels[0], names) if labels else ())], colour)
