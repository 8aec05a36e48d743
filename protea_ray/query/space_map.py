"""A space in two dimensions, read at one pin: a place for each protein, what colours it, and who is near."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, get_args

import numpy as np

from protea_ray.errors import ConfigError, InputError, ProteaRayError, StoreError, did_you_mean
from protea_ray.pictures.map_data import MapColumn, Method, PointNeighbours, SpaceMap
from protea_ray.pictures.nearest_points import EXACT_UP_TO, TESTED, nearest_points
from protea_ray.pictures.projection import UMAP_LEAST, Projection, principal_components, umap_places, umap_problem
from protea_ray.query.drift import draw, mean_vectors, protein_keys
from protea_ray.query.map_columns import fields_as_columns, labels_as_columns, map_labels
from protea_ray.query.map_points import MapPoints, label_rows, map_points
from protea_ray.query.search import pooling_of
from protea_ray.query.training.label_table import LabelSource
from protea_ray.query.training.labels import Labels, match_labels
from protea_ray.query.view import Pin, View
from protea_ray.store.aliases import CURRENT
from protea_ray.store.location import Location

LIMIT = 100_000  # points
_T = TypeVar("_T")


def space_map(
    location: Location,
    space: str | Pin = CURRENT,
    *,
    method: Method = "pca",
    pooling: str | None = None,
    limit: int = LIMIT,
    seed: int = 0,
    labels: LabelSource | Labels | None = None,
    label_columns: Sequence[str] | str | None = None,
    neighbours: bool = True,
) -> SpaceMap:
    """Lay out the proteins of a space (name, alias or pin) in two dimensions.

    Of more than `limit` proteins the same `seed` draws the same ones. A protein of a chunked space stands for the mean
    of its chunks, weighted by their residues. `labels` are a file or a table by id, of which `label_columns` (None:
    all) become columns. Where several arguments are wrong, one ConfigError names all; a single mistake raises what it
    is: ConfigError, InputError for the labels, UnknownSpaceError. No vector has been read then.
    """
    mistakes = _Mistakes(list(_option_problems(method, limit, seed, labels, label_columns)))
    view = mistakes.catch(lambda: View.open(location, space))
    chosen = mistakes.catch(lambda: pooling_of(view, pooling)) if view else None
    wanted = mistakes.catch(lambda: map_labels(labels, label_columns)) if labels is not None else None
    mistakes.tell()
    assert view is not None and chosen is not None  # or `tell` has raised
    keys = protein_keys(view)
    points = map_points(view, draw(keys, limit, seed) if len(keys) > limit else keys)
    vectors, lengths = mean_vectors(view, points.keys, chosen)
    drawn_by, projection = _projected(vectors, method, seed)
    near = nearest_points(vectors, seed=seed) if neighbours else None
    columns, said = _columns(view, points, lengths, wanted)
    return SpaceMap(
        space=view.pin.space,
        version=view.pin.version,
        model=view.info.model,
        pooling=chosen,
        method=drawn_by,
        total=len(keys),
        ids=points.ids,
        descriptions=points.descriptions.to_pylist(),
        x=projection.places[:, 0],
        y=projection.places[:, 1],
        explained=projection.explained,
        columns=columns,
        neighbours=near,
        seed=seed,
        notes=(
            *_notes(view, len(keys), len(points.keys), seed),
            *_method_notes(len(vectors), method, drawn_by, projection, seed),
            *points.notes,
            *_recall_note(near),
            *said,
        ),
    )


class _Mistakes:
    """Mistakes of a call, gathered so that one message has all."""

    def __init__(self, problems: Sequence[str]) -> None:
        self._errors: list[ProteaRayError] = [ConfigError(problem, where="map") for problem in problems]

    def catch(self, read: Callable[[], _T]) -> _T | None:
        """What `read` returns, or None after an error that is told later."""
        try:
            return read()
        except (ConfigError, InputError, StoreError) as error:
            self._errors.append(error)
            return None

    def tell(self) -> None:
        """Raise the only error as it is, several as one ConfigError."""
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise ConfigError([problem for error in self._errors for problem in _sentences(error)], where="map")


def _sentences(error: ProteaRayError) -> Sequence[str]:
    return error.problems if isinstance(error, ConfigError | InputError) else (str(error),)


def _option_problems(method: str, limit: int, seed: int, labels: object, label_columns: object) -> Iterator[str]:
    methods = get_args(Method)
    if method not in methods:
        yield f"method is {method!r}{did_you_mean(str(method), methods)}; it is one of {', '.join(methods)}"
    elif method == "umap" and (problem := umap_problem()):
        yield problem
    if limit < 1:
        yield f"limit is {limit}; a map has at least 1 point"
    if not 0 <= seed < 2**32:
        yield f"seed is {seed}; it is 0 to {2**32 - 1}"
    if label_columns is not None and labels is None:
        yield "label_columns need labels"


def _projected(vectors: np.ndarray, method: Method, seed: int) -> tuple[Method, Projection]:
    """The places, and the method that gave them: PCA where there are too few points for UMAP."""
    if method == "umap" and len(vectors) >= UMAP_LEAST:
        return "umap", umap_places(vectors, seed)
    return "pca", principal_components(vectors)


def _columns(
    view: View, points: MapPoints, lengths: np.ndarray, wanted: tuple[Labels, list[str]] | None
) -> tuple[tuple[MapColumn, ...], list[str]]:
    """Length, fields of the descriptions and labels, with sentences on where they are from."""
    fields, notes = fields_as_columns(points.descriptions)
    columns = [MapColumn("length", lengths.astype(np.float64)), *fields]
    if wanted is None:
        return tuple(columns), notes
    labels, left_out = wanted
    match = match_labels(labels, view.records(None, ["id"])["id"])  # of all records: an accession may be ambiguous
    rows, differ = label_rows(match.rows(points.all_ids), points.owner, len(points.keys))
    if differ:
        left_out.append(f"{labels.source}: {differ:,} proteins have ids with several labels; the first is taken")
    of_labels, said = labels_as_columns(labels, rows, [column.name for column in columns])
    sentences = [f"{labels.source}: {sentence}" for sentence in match.sentences]
    return (*columns, *of_labels), [*notes, *left_out, *sentences, *said]


def _notes(view: View, total: int, shown: int, seed: int) -> Iterator[str]:
    if shown < total:
        yield f"{shown:,} of {total:,} proteins, drawn with seed {seed}"
    if not view.info.trained:
        yield f"{view.info.model} was never trained: places and neighbours carry no biology"
    if view.info.chunked:
        yield f"{view.pin.space} stores chunks; a protein stands for their mean, weighted by residues"


def _method_notes(n: int, asked: Method, drawn_by: Method, projection: Projection, seed: int) -> Iterator[str]:
    if asked != drawn_by:
        yield f"UMAP needs at least {UMAP_LEAST} proteins and here are {n}: drawn by PCA"
    if drawn_by == "umap":
        yield f"UMAP over cosines, seed {seed}: near points are alike, distances between groups say little"
    elif projection.explained is None and n > 1:
        yield f"all {n:,} vectors are equal: every point lies at 0"


def _recall_note(near: PointNeighbours | None) -> Iterator[str]:
    if near is not None and len(near.points) > EXACT_UP_TO:
        yield (
            f"neighbours are approximate: {near.recall:.1%} of the true ones are found, measured on {TESTED} points "
            "that were drawn at random"
        )
