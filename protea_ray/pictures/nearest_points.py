"""The nearest points of each by the cosine of whole vectors: all pairs of a small map, inverted lists of a large one.

Inverted lists (Sivic and Zisserman 2003): points are put into lists by the nearest of some hundred centres, and a point
is compared with those in the lists whose centres are nearest to it. What that misses is measured on points drawn at
random, which are compared with all.
"""

from __future__ import annotations

import numpy as np

from protea_ray.pictures.map_data import PointNeighbours

NEAREST = 10
EXACT_UP_TO = 20_000  # points; all pairs of them take seconds
TESTED = 200  # points whose true neighbours say what inverted lists miss
_PROBES = 64  # lists that one point is compared with
_LIST = 100  # points of a list, on average
_OF_A_CENTRE = 40  # points that k-means sees for each centre
_ROUNDS = 8  # of k-means
_PRODUCTS = 1 << 24  # cosines in memory at once: 67 MB
_SAFE_NORM = 1e-12
_SAME = 1e-5  # cosines that differ by less are of equal neighbours, in float32


def nearest_points(
    vectors: np.ndarray, k: int = NEAREST, *, seed: int = 0, exact_up_to: int = EXACT_UP_TO
) -> PointNeighbours:
    """Find the `k` nearest other points of each of `vectors` (n, D); all others where there are fewer.

    Beyond `exact_up_to` points inverted lists are searched, and `recall` is measured. A zero vector has cosine 0 with
    all. `seed` draws the points that k-means starts from and those that are tested.
    """
    unit = _unit(vectors)
    k = max(0, min(k, len(unit) - 1))
    if len(unit) <= max(exact_up_to, 2 * _LIST):
        return PointNeighbours(*_exact(unit, np.arange(len(unit)), k), recall=1.0)
    points, cosines = _by_lists(unit, k, np.random.default_rng(seed))
    tested = np.random.default_rng([seed, 1]).choice(len(unit), min(TESTED, len(unit)), replace=False)
    return PointNeighbours(points, cosines, _recall(cosines[tested], _exact(unit, tested, k)[1]))


def nearest_rows(vectors: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` rows of `vectors` (n, D) whose products with each of `rows` are highest, itself left out, in no order.

    Returns row numbers and products, both (len(rows), k).
    """
    similar = vectors[rows] @ vectors.T
    similar[np.arange(len(rows)), rows] = -np.inf
    found = np.argpartition(similar, len(vectors) - k, axis=1)[:, len(vectors) - k :]
    return found, np.take_along_axis(similar, found, axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """(n, D) float32 of length 1, or 0."""
    wide = vectors.astype(np.float32)  # a copy
    for start in range(0, len(wide), 4096):
        block = wide[start : start + 4096]
        block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), _SAFE_NORM)
    return wide


def _exact(unit: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(len(rows), k) points and cosines, best first, over all pairs."""
    points, cosines = np.zeros((len(rows), k), np.int32), np.zeros((len(rows), k), np.float32)
    if not k:
        return points, cosines
    at_once = max(1, _PRODUCTS // len(unit))
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        points[part], cosines[part] = _ranked(*nearest_rows(unit, rows[part], k), k)
    return points, cosines


def _recall(found: np.ndarray, true: np.ndarray) -> float:
    """Share of the cosines `found` (m, k) that reach the least of the `true` ones of their row: ties are no misses."""
    return float((found >= true[:, -1:] - _SAME).mean())


def _ranked(points: np.ndarray, cosines: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` best of each row, best first; of equal cosines the earlier point."""
    order = np.lexsort((points, -cosines), axis=1)[:, :k]
    return np.take_along_axis(points, order, axis=1), np.take_along_axis(cosines, order, axis=1)


def _by_lists(unit: np.ndarray, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) points and cosines, best first, among the points of the _PROBES lists nearest to each point.

    A point whose lists hold fewer than `k` others is compared with all.
    """
    centres = _centres(unit, rng)
    lists = _nearest_centres(unit, centres, min(_PROBES, len(centres)))
    points, cosines = np.zeros((len(unit), k), np.int32), np.full((len(unit), k), -np.inf, np.float32)
    members, askers = _grouped(lists[:, 0], len(centres)), _grouped(lists.ravel(), len(centres))
    for of_list, asking in zip(members, askers, strict=True):
        _search_list(unit, of_list, asking // lists.shape[1], points, cosines)
    short = np.flatnonzero(np.isneginf(cosines).any(axis=1))
    points[short], cosines[short] = _exact(unit, short, k)
    return _ranked(points, cosines, k)


def _centres(unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Centres (lists, D) of length 1 or 0 by k-means on points drawn at random; one without points stays in place."""
    count = len(unit) // _LIST
    sample = unit[rng.choice(len(unit), min(len(unit), count * _OF_A_CENTRE), replace=False)]
    centres = sample[:count].copy()
    for _ in range(_ROUNDS):
        groups = _grouped(_nearest_centres(sample, centres, 1)[:, 0], count)
        centres = _unit(np.stack([sample[group].sum(axis=0) if len(group) else centre
                                  for group, centre in zip(groups, centres, strict=True)]))  # fmt: skip
    return centres


def _nearest_centres(unit: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    """(n, count) numbers of the centres nearest to each point, the nearest first."""
    found = np.zeros((len(unit), count), np.int32)
    at_once = max(1, _PRODUCTS // len(centres))
    for start in range(0, len(unit), at_once):
        similar = unit[start : start + at_once] @ centres.T
        some = np.argpartition(similar, len(centres) - count, axis=1)[:, len(centres) - count :]
        found[start : start + at_once] = _ranked(some, np.take_along_axis(similar, some, axis=1), count)[0]
    return found


def _grouped(numbers: np.ndarray, count: int) -> list[np.ndarray]:
    """For each number from 0 to count - 1, where it stands in `numbers`."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.searchsorted(numbers[order], np.arange(1, count)))


def _search_list(
    unit: np.ndarray, members: np.ndarray, asking: np.ndarray, points: np.ndarray, cosines: np.ndarray
) -> None:
    """Compare the points `asking` with the `members` of a list; keeps the best of each in `points` and `cosines`."""
    k = points.shape[1]
    at_once = max(1, _PRODUCTS // max(len(members), 1))
    for start in range(0, len(asking), at_once):
        rows = asking[start : start + at_once]
        similar = unit[rows] @ unit[members].T
        similar[members == rows[:, None]] = -np.inf
        similar = np.concatenate([cosines[rows], similar], axis=1)
        found = np.concatenate([points[rows], np.broadcast_to(members, (len(rows), len(members)))], axis=1)
        best = np.argpartition(similar, similar.shape[1] - k, axis=1)[:, similar.shape[1] - k :]
        points[rows] = np.take_along_axis(found, best, axis=1)
        cosines[rows] = np.take_along_axis(similar, best, axis=1)
