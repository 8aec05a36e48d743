"""A map as the page's script reads it: places, colours by column, neighbours, and texts that are not too long."""

from __future__ import annotations

from typing import Any

import numpy as np

from protea_ray.pictures.colours import colour_classes
from protea_ray.pictures.map_data import MapColumn, PointNeighbours, SpaceMap
from protea_ray.reporting.packed import Values

LONGEST_ID, LONGEST_DESCRIPTION = 120, 160  # characters on the page
MANY, LONGEST_OF_MANY = 20_000, 60  # points, from which descriptions are shorter: the file stays under 15 MB
COSINE_STEPS = 65_535  # cosines travel as 16-bit numbers from -1 to 1: 0.00003 apart


def map_payload(shown: SpaceMap, colour: str | None) -> dict[str, Values]:
    """Everything that the script needs to draw the map, search it and list neighbours; {} where it has no points."""
    if not len(shown.ids):
        return {}
    longest = LONGEST_OF_MANY if len(shown.ids) > MANY else LONGEST_DESCRIPTION
    columns = {f"map-column-{number}": _values(column) for number, column in enumerate(shown.columns)}
    return {
        "map": {"columns": [_described(column) for column in shown.columns], "first": _first(shown, colour)},
        "map-x": shown.x.astype(np.float32),
        "map-y": shown.y.astype(np.float32),
        "map-ids": [shortened(text, LONGEST_ID) for text in shown.ids],
        "map-descriptions": [shortened(text, longest) for text in shown.descriptions],
        **columns,
        **_neighbours(shown.neighbours),
    }


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis, at most `most` characters; half surrogates become the sign for none.

    >>> shortened("abcdef", 4)
    'abc…'
    """
    plain = text.encode("utf-8", "replace").decode()
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def _first(shown: SpaceMap, colour: str | None) -> int:
    """The column that colours the map at first: the one that was asked for, else the first of names, else length."""
    names = [column.name for column in shown.columns]
    if colour is not None:
        return names.index(colour)
    return next((place for place, column in enumerate(shown.columns) if not column.numeric), 0)


def _described(column: MapColumn) -> dict[str, Any]:
    """What the legend says of a column."""
    if not column.numeric:
        classes = colour_classes([str(value) for value in column.values])
        return {
            "name": column.name, "classes": [shortened(name, LONGEST_ID) for name in classes.names],
            "counts": list(classes.counts), "colours": list(classes.colours),
        }  # fmt: skip
    values = np.asarray(column.values, np.float64)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    whole = bool(len(known)) and bool((known == np.round(known)).all())
    unknown = len(values) - len(known)
    return {"name": column.name, "low": low, "high": high, "whole": whole, "log": _spans(low, high), "unknown": unknown}


def _spans(low: float, high: float) -> bool:
    """Whether the colours follow the logarithm: positive values that differ by a factor of 20."""
    return low > 0 and high > 20 * low


def _values(column: MapColumn) -> Values:
    """The class of each point, or its number; NaN where it is unknown."""
    if column.numeric:
        return np.asarray(column.values, np.float32)
    return colour_classes([str(value) for value in column.values]).codes.astype(np.int32)


def _neighbours(near: PointNeighbours | None) -> dict[str, Values]:
    if near is None or not near.points.size:
        return {}
    scaled = np.round((np.clip(near.cosines, -1, 1) + 1) / 2 * COSINE_STEPS)
    return {
        "map-neighbours": near.points.astype(np.int32).ravel(),
        "map-cosines": scaled.astype(np.uint16).ravel(),
        "map-near": {"k": int(near.points.shape[1]), "recall": round(float(near.recall), 3)},
    }
