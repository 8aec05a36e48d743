"""A space in two dimensions, read at one pin: a place for each protein, what colours it, and who is near."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from protea_ray.pictures.map_data import LENGTH, MapColumn, Method, PointNeighbours, SpaceMap
from protea_ray.pictures.nearest_points import EXACT_UP_TO, TESTED, nearest_points
from protea_ray.pictures.projection import UMAP_LEAST, Projection, principal_components, umap_places
from protea_ray.query.drift import mean_vectors
from protea_ray.query.map_columns import labels_as_columns
from protea_ray.query.map_points import label_rows
from protea_ray.query.map_request import MapRequest
from protea_ray.query.training.labels import match_labels
from protea_ray.query.view import View


def space_map(asked: MapRequest, *, neighbours: bool = True) -> SpaceMap:
    """Lay out the proteins of a request in two dimensions, with the nearest of each unless `neighbours` is False.

    A protein of a chunked space stands for the mean of its chunks, weighted by their residues.
    """
    view, points, method, seed = asked.view, asked.points, asked.options.method, asked.options.seed
    vectors, lengths = mean_vectors(view, points.keys, asked.pooling)
    drawn_by, projection = _projected(vectors, method, seed)
    near = nearest_points(vectors, seed=seed) if neighbours else None
    columns, said = _columns(asked, lengths)
    return SpaceMap(
        space=view.pin.space,
        version=view.pin.version,
        model=view.info.model,
        pooling=asked.pooling,
        method=drawn_by,
        total=asked.total,
        ids=points.ids,
        descriptions=points.descriptions.to_pylist(),
        x=projection.places[:, 0],
        y=projection.places[:, 1],
        explained=projection.explained,
        columns=columns,
        neighbours=near,
        seed=seed,
        notes=(
            *_notes(view, asked.total, len(points.keys), seed),
            *_method_notes(len(vectors), method, drawn_by, projection, seed),
            *points.notes,
            *_recall_note(near),
            *said,
        ),
    )


def _projected(vectors: np.ndarray, method: Method, seed: int) -> tuple[Method, Projection]:
    """The places, and the method that gave them: PCA where there are too few points for UMAP."""
    if method == "umap" and len(vectors) >= UMAP_LEAST:
        return "umap", umap_places(vectors, seed)
    return "pca", principal_components(vectors)


def _columns(asked: MapRequest, lengths: np.ndarray) -> tuple[tuple[MapColumn, ...], list[str]]:
    """Length, fields of the descriptions and labels, with sentences on where they are from."""
    fields, notes = asked.fields
    columns = [MapColumn(LENGTH, lengths.astype(np.float64)), *fields]
    if asked.labels is None:
        return tuple(columns), notes
    (labels, left_out), points = asked.labels, asked.points
    match = match_labels(labels, asked.view.records(None, ["id"])["id"])  # of all: an accession may be ambiguous
    rows, differ = label_rows(match.rows(points.all_ids), points.owner, len(points.keys))
    several = f"{labels.source}: {differ:,} proteins have ids with several labels; the first is taken"
    of_labels, said = labels_as_columns(labels, rows, [column.name for column in columns])
    sentences = [f"{labels.source}: {sentence}" for sentence in match.sentences]
    return (*columns, *of_labels), [*notes, *left_out, *([several] if differ else []), *sentences, *said]


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
