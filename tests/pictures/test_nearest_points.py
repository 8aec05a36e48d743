"""Nearest points against all pairs in float64, the recall of inverted lists, and maps of hardly any point."""

from __future__ import annotations

import numpy as np
import pytest

from protea_ray.pictures import nearest_points as module
from protea_ray.pictures.nearest_points import nearest_points


def cosines(vectors: np.ndarray) -> np.ndarray:
    """(n, n) in float64, -2 of a point with itself; 0 of a zero vector."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    found = unit @ unit.T
    np.fill_diagonal(found, -2)
    return found


def families(n: int, width: int = 24, of: int = 25) -> np.ndarray:
    rng = np.random.default_rng(n)
    centres = rng.normal(size=(n // of, width))
    return (centres[rng.integers(0, len(centres), n)] + 0.7 * rng.normal(size=(n, width))).astype(np.float32)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_small_maps_have_all_true_neighbours_best_first(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PRODUCTS", 300 * 7)  # seven rows at once, the last block is smaller
    given = families(300).astype(kind)
    true = cosines(given)

    found = nearest_points(given)

    expected = np.argsort(-true, axis=1, kind="stable")[:, :10]
    assert found.points.dtype == np.int32
    assert found.cosines.dtype == np.float32
    assert (found.points == expected).all()
    np.testing.assert_allclose(found.cosines, np.take_along_axis(true, expected, axis=1), atol=1e-6)
    assert found.recall == 1.0


@pytest.mark.parametrize(("n", "k"), [(0, 0), (1, 0), (2, 1), (5, 4), (11, 10), (12, 10)])
def test_few_points_have_all_others(n: int, k: int) -> None:
    found = nearest_points(families(50)[:n])

    assert found.points.shape == found.cosines.shape == (n, k)
    assert all(len({row, *others}) == k + 1 for row, others in enumerate(found.points.tolist()))
    assert found.recall == 1.0


def test_equal_vectors_and_zero_vectors_have_neighbours() -> None:
    given = np.float32([[1, 0], [2, 0], [0, 0], [-1, 0]])

    found = nearest_points(given)

    assert found.points.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [2, 0, 1]]
    assert found.cosines.tolist() == [[1, 0, -1], [1, 0, -1], [0, 0, 0], [0, -1, -1]]


def share_found(given: np.ndarray, points: np.ndarray) -> float:
    true = np.argsort(-cosines(given), axis=1)[:, :10]
    return float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(points, true, strict=True)]))


def test_inverted_lists_find_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of 60 lists are searched, so much is missed; the recall is that of all points but for the draw."""
    monkeypatch.setattr(module, "_PROBES", 2)
    given = families(6_000)

    found = nearest_points(given, exact_up_to=1_000)

    share = share_found(given, found.points)
    assert 0.3 < share < 0.99
    assert abs(found.recall - share) < 4 * np.sqrt(share * (1 - share) / module.TESTED)  # 10 of one point go together
    true = cosines(given)
    np.testing.assert_allclose(found.cosines, np.take_along_axis(true, found.points.astype(int), axis=1), atol=1e-6)
    assert (np.diff(found.cosines, axis=1) <= 0).all()
    assert all(len({row, *others}) == 11 for row, others in enumerate(found.points.tolist()))


def test_all_lists_together_are_exact_and_a_seed_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    given = families(1_500)
    monkeypatch.setattr(module, "_PRODUCTS", 5_000)

    whole = nearest_points(given, exact_up_to=1_000)  # 15 lists, all of which are searched
    monkeypatch.setattr(module, "_PROBES", 3)
    one, again = (nearest_points(given, exact_up_to=1_000, seed=3) for _ in range(2))

    assert share_found(given, whole.points) == 1
    assert whole.recall == 1
    assert (one.points == again.points).all()
    assert one.recall == again.recall < 1


def test_equal_points_are_no_misses() -> None:
    found = nearest_points(np.ones((1_200, 3), np.float16), exact_up_to=1_000)

    assert found.recall == 1
    np.testing.assert_allclose(found.cosines, 1, atol=1e-6)


def test_points_whose_lists_are_short_are_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of three points holds two others, and ten are wanted."""
    monkeypatch.setattr(module, "_PROBES", 1)
    monkeypatch.setattr(module, "_centres", lambda unit, rng: unit[[0, -1]])
    given = families(1_200)
    given[:, 0] = 100
    given[-3:, 0] = -100

    found = nearest_points(given, exact_up_to=1_000)

    assert (found.points[-3:, :10] == np.argsort(-cosines(given), axis=1)[-3:, :10]).all()
    assert np.isfinite(found.cosines).all()
