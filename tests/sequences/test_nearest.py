"""The share of nearest neighbours of the same group, against a count by hand and against another library."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sequences import nearest
from tests.sequences.nearest import same_group_share


def test_by_hand() -> None:
    """Angles 0, 10, 25, 90 and 95 degrees: the neighbours are 1, 0, 1, 4 and 3; lengths do not matter."""
    angles = np.deg2rad([0, 10, 25, 90, 95])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[1], [5], [0.1], [2], [3]])
    assert same_group_share(vectors, ["a", "a", "b", "b", "b"]) == pytest.approx(4 / 5)
    assert same_group_share(vectors, ["a", "b", "b", "a", "b"]) == pytest.approx(1 / 5)


@pytest.mark.parametrize("block", [7, 1024])
def test_as_scikit_learn_counts(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    monkeypatch.setattr(nearest, "BLOCK", block)
    draw = np.random.default_rng(0)
    groups = draw.integers(0, 6, 90)
    vectors = draw.normal(size=(90, 8)) + draw.normal(size=(6, 8))[groups]
    found = neighbors.NearestNeighbors(n_neighbors=1, metric="cosine").fit(vectors).kneighbors(return_distance=False)
    expected = float(np.mean(groups[found[:, 0]] == groups))
    assert 0.3 < expected < 0.95
    assert same_group_share(vectors.astype(np.float64), groups.astype(str).tolist()) == pytest.approx(expected)


def test_equally_near_vectors_count_in_equal_parts() -> None:
    assert same_group_share(np.ones((4, 3)), ["a", "a", "b", "b"]) == pytest.approx(1 / 3)


def test_one_vector_has_no_neighbour() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        same_group_share(np.ones((1, 3)), ["a"])
