"""Vectors in two dimensions: principal components, exact and the same each time, or UMAP where it is installed.

Principal components read the vectors in blocks, so 100,000 float16 vectors of 1,280 numbers need a few megabytes beside
themselves. The first vector is subtracted from all before anything is summed: vectors that are equal are then zeros
exactly, and a large constant costs no digits.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from protea_ray.errors import ConfigError

UMAP_NEIGHBOURS = 15  # UMAP's own choice
UMAP_LEAST = UMAP_NEIGHBOURS + 1  # points; fewer have no neighbourhood that differs from the whole
_BLOCK = 4096  # vectors in float64 at once: 42 MB for 1,280 numbers
_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Projection:
    """`places` (n, 2) float32. `explained`: share of the variance along each axis, None where there is none."""

    places: np.ndarray
    explained: tuple[float, float] | None


def principal_components(vectors: np.ndarray) -> Projection:
    """Project vectors (n, D), float16 or float32 and finite, onto the two directions in which they vary most.

    Each direction points to where its largest loading is positive. A direction along which nothing varies, beyond
    rounding, has places 0; `explained` is None where no direction varies: no vector, one, or equal ones.
    """
    axes, explained, origin = _axes(vectors)
    places = np.zeros((len(vectors), 2), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64) - origin
        places[start : start + _BLOCK, : axes.shape[1]] = block @ axes
    return Projection(places, explained)


def _axes(vectors: np.ndarray) -> tuple[np.ndarray, tuple[float, float] | None, np.ndarray]:
    """Directions (D, at most 2) of unit length, their shares of the variance, and the mean of the vectors (D,)."""
    n, width = vectors.shape
    if n < 2:
        return np.zeros((width, 0)), None, np.zeros(width)
    first = vectors[0].astype(np.float64)
    shift = _sum(vectors, first) / n
    directions, variances = _by_covariance(vectors, first, shift) if n > width else _by_svd(vectors, first, shift)
    total = variances.sum()
    if total <= 0:
        return np.zeros((width, 0)), None, first + shift
    real = variances[:2] > variances[0] * max(n, width) * _EPS
    shares = np.where(real, variances[:2] / total, 0.0).tolist()
    axes = _pointed(directions[:, : len(real)][:, real])
    return axes, (shares[0], shares[1] if len(shares) > 1 else 0.0), first + shift


def _sum(vectors: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Sum of all vectors less the first one, (D,) float64."""
    total = np.zeros(vectors.shape[1])
    for start in range(0, len(vectors), _BLOCK):
        total += (vectors[start : start + _BLOCK].astype(np.float64) - first).sum(axis=0)
    return total


def _by_covariance(vectors: np.ndarray, first: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions as columns (D, D), largest variance first, and their sums of squares (D,)."""
    scatter = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), _BLOCK):
        centred = vectors[start : start + _BLOCK].astype(np.float64) - first - shift
        scatter += centred.T @ centred
    variances, directions = np.linalg.eigh(scatter)
    return directions[:, ::-1], np.maximum(variances[::-1], 0)


def _by_svd(vectors: np.ndarray, first: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same from the vectors themselves, of which there are no more than numbers in one: (D, n) and (n,)."""
    _, singular, rows = np.linalg.svd(vectors.astype(np.float64) - first - shift, full_matrices=False)
    return rows.T, singular**2


def _pointed(axes: np.ndarray) -> np.ndarray:
    """Each column, turned so that its number of largest size is positive; the first of equals decides."""
    largest = np.argmax(np.abs(axes), axis=0)
    return axes * np.where(axes[largest, np.arange(axes.shape[1])] < 0, -1.0, 1.0)


def umap_problem() -> str | None:
    """Why maps by UMAP cannot be drawn here, in words, and what to install; None where they can."""
    if find_spec("umap") is None:
        return 'method umap needs umap-learn: pip install "protea-ray[umap]"; method pca needs nothing more'
    return None


def umap_places(vectors: np.ndarray, seed: int) -> Projection:
    """Lay out vectors (n, D) by UMAP over their cosines; the same seed gives the same places on one machine.

    One thread, which is what a fixed seed costs. Raises ConfigError where umap-learn is not installed, or for fewer
    than UMAP_LEAST vectors.
    """
    if problem := umap_problem():
        raise ConfigError(problem, where="method")
    if len(vectors) < UMAP_LEAST:
        raise ConfigError(f"UMAP needs at least {UMAP_LEAST} vectors, here are {len(vectors)}; use pca", where="method")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap's own, about TensorFlow, threads, and points that stand apart
        places = _umap(seed).fit_transform(vectors.astype(np.float32))
    return Projection(np.asarray(places, np.float32), None)


def _umap(seed: int) -> Any:
    from umap import UMAP  # seconds, for those who ask for it

    return UMAP(n_components=2, n_neighbors=UMAP_NEIGHBOURS, metric="cosine", random_state=seed, n_jobs=1)
