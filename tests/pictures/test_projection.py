"""Places on a map: principal components against scikit-learn's, spaces with nothing to show, and UMAP."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from protea_ray.errors import ConfigError
from protea_ray.pictures import projection
from protea_ray.pictures.projection import UMAP_LEAST, principal_components, umap_places, umap_problem


def vectors(n: int, width: int, offset: float = 0.0) -> np.ndarray:
    """Random vectors that vary most along the first of some turned axes."""
    rng = np.random.default_rng([n, width])
    turned, _ = np.linalg.qr(rng.normal(size=(width, width)))
    return ((rng.normal(size=(n, width)) * np.linspace(3, 1, width)) @ turned + offset).astype(np.float32)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize(("n", "width"), [(500, 20), (20, 500), (41, 40), (40, 40), (3, 7), (2, 5), (9_000, 6)])
def test_places_and_shares_are_those_of_scikit_learn(n: int, width: int, kind: type) -> None:
    given = vectors(n, width).astype(kind)
    reference = PCA(2, svd_solver="full").fit(given.astype(np.float64))
    expected = reference.transform(given.astype(np.float64))

    found = principal_components(given)

    assert found.places.dtype == np.float32
    if n == 2:  # scikit-learn leaves rounding in a direction along which nothing varies
        assert found.places[:, 1].tolist() == [0, 0]
        assert found.explained == (1, 0)
        expected[:, 1] = 0
    else:
        assert found.explained == pytest.approx(reference.explained_variance_ratio_, abs=1e-9)
    np.testing.assert_allclose(found.places, expected, atol=1e-5)


def test_numbers_far_from_zero_lose_no_digits() -> None:
    near, far = vectors(300, 8).astype(np.float16).astype(np.float32), np.float32(2**11)

    moved = principal_components(near + far)

    held = (near + far).astype(np.float64) - float(far)
    np.testing.assert_allclose(moved.places, PCA(2).fit_transform(held), atol=1e-5)


def test_the_largest_loading_of_each_axis_is_positive() -> None:
    """Turning all vectors around turns the places around, and no more."""
    given = vectors(200, 6)

    places = principal_components(given).places

    np.testing.assert_allclose(principal_components(-given).places, -places, atol=1e-5)
    loadings = np.linalg.lstsq(places - places.mean(0), given - given.mean(0), rcond=None)[0]
    assert all(axis[np.argmax(np.abs(axis))] > 0 for axis in loadings)


@pytest.mark.parametrize("n", [0, 1])
def test_no_vector_and_one_lie_at_zero(n: int) -> None:
    found = principal_components(vectors(n, 4))

    assert found.places.tolist() == [[0, 0]] * n
    assert found.explained is None


@pytest.mark.parametrize(("n", "width"), [(50, 4), (3, 40)])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_equal_vectors_lie_at_zero_exactly(n: int, width: int, kind: type) -> None:
    found = principal_components(np.full((n, width), 0.1, kind))

    assert not found.places.any()
    assert found.explained is None


@pytest.mark.parametrize("n", [4, 90])
def test_vectors_on_a_line_have_one_axis(n: int) -> None:
    steps = np.arange(n, dtype=np.float32)
    found = principal_components(steps[:, None] * np.float32([3, 0, 4, 0, 0]) + np.float32(7))

    np.testing.assert_allclose(found.places[:, 0], 5 * (steps - steps.mean()), rtol=1e-5)
    assert not found.places[:, 1].any()
    assert found.explained == (1, 0)


def test_vectors_of_one_number_have_one_axis() -> None:
    found = principal_components(np.float32([[1], [2], [6]]))

    assert found.places.tolist() == [[-2, 0], [-1, 0], [3, 0]]
    assert found.explained == (1, 0)


def test_places_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    given = vectors(100, 8)
    whole = principal_components(given)
    monkeypatch.setattr(projection, "_BLOCK", 7)

    np.testing.assert_allclose(principal_components(given).places, whole.places, atol=1e-6)


def test_umap_keeps_groups_apart_and_is_the_same_each_time() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    centres = 10 * np.eye(3, 16, dtype=np.float32)
    given = np.concatenate([centre + vectors(20, 16) / 3 for centre in centres]).astype(np.float16)

    found = umap_places(given, seed=4)

    assert found.explained is None
    assert found.places.shape == (60, 2)
    assert found.places.dtype == np.float32
    groups = found.places.reshape(3, 20, 2).astype(np.float64)
    within = max(np.linalg.norm(group - group.mean(0), axis=1).max() for group in groups)
    between = [np.linalg.norm(a.mean(0) - b.mean(0)) for a, b in zip(groups, np.roll(groups, 1, axis=0), strict=True)]
    assert within < min(between) / 2
    assert (umap_places(given, seed=4).places == found.places).all()
    assert (umap_places(given, seed=5).places != found.places).any()


def test_umap_is_loaded_when_it_is_asked_for_and_its_warnings_reach_nobody() -> None:
    """Two groups that no neighbour joins, of which umap-learn warns."""
    pytest.importorskip("umap", reason="umap-learn is not installed")
    code = (
        "import sys, warnings, numpy as np; from protea_ray.pictures.projection import umap_places;"
        "assert 'umap' not in sys.modules; warnings.simplefilter('error');"
        "rng = np.random.default_rng(0); given = rng.normal(size=(80, 8)).astype(np.float32);"
        "given[:40, 0] += 100; given[40:, 1] += 100; umap_places(given, 0)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_umap_of_equal_vectors_is_finite_and_silent(value: float) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")

    assert np.isfinite(umap_places(np.full((UMAP_LEAST, 4), value, np.float32), seed=0).places).all()


def test_umap_that_cannot_run_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    if umap_problem() is None:
        with pytest.raises(ConfigError, match="at least 16 vectors, here are 15; use pca"):
            umap_places(vectors(15, 4), seed=0)
    monkeypatch.setattr(projection, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "protea-ray\[umap\]"'):
        umap_places(vectors(50, 4), seed=0)
