"""A map of one space as plain values: where each protein lies in two dimensions, what colours it, who is near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from protea_ray.display import first_of, printable
from protea_ray.errors import ConfigError, did_you_mean

LENGTH = "length"  # the column, in residues, that every map has
Method = Literal["pca", "umap"]


@dataclass(frozen=True)
class MapColumn:
    """One value for each point, to colour by: numbers (float64, NaN where unknown) or texts ("" where unknown)."""

    name: str
    values: np.ndarray | Sequence[str]

    @property
    def numeric(self) -> bool:
        """Whether the values are an ordered scale and not names of classes."""
        return isinstance(self.values, np.ndarray)


@dataclass(frozen=True)
class PointNeighbours:
    """The nearest points of each point, best first, by cosine of their whole vectors (not of their places on the map).

    `points` (n, k) int32 are rows of the map, `cosines` (n, k) float32. `recall` is the measured share of true
    neighbours among those found, 1.0 where all pairs were compared.
    """

    points: np.ndarray
    cosines: np.ndarray
    recall: float


@dataclass(frozen=True)
class SpaceMap:
    """One space in two dimensions, n points of the `total` proteins that it holds.

    `x`, `y`: (n,) float32. `explained`: share of the variance along x and y, None where the method is not linear, or
    nothing varies. `seed` drew the sample where n < total. `columns` always has LENGTH. A space without vectors has
    n = 0.
    """

    space: str
    version: int
    model: str
    pooling: str
    method: Method
    total: int
    ids: Sequence[str]
    descriptions: Sequence[str]
    x: np.ndarray
    y: np.ndarray
    explained: tuple[float, float] | None
    columns: tuple[MapColumn, ...]
    neighbours: PointNeighbours | None
    seed: int = 0
    notes: tuple[str, ...] = ()  # what the picture cannot say: sampled, fell back to PCA, untrained

    @property
    def sampled(self) -> bool:
        """Whether the map shows fewer proteins than the space holds."""
        return len(self.ids) < self.total


def require_column(names: Sequence[str], colour: str) -> None:
    """Raise ConfigError, which lists the columns that the map has, where none of `names` is `colour`."""
    if colour not in names:
        listed = first_of([printable(one[:60]) for one in names], 20)
        raise ConfigError(f"colour is {colour!r}{did_you_mean(colour, names)}; the map has {listed}", where="map")
