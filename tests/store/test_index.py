"""A vector index is built when it pays or is forced, finds nearly all neighbours, and never makes `nearest` inexact."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np
import pytest

from protea_ray.errors import ConfigError, LeaseHeldError, UnknownSpaceError
from protea_ray.query.reader import open_store
from protea_ray.store.index import build_index, indexed_rows
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.spaces import ensure_space
from protea_ray.store.tables import open_table
from tests.store import build

N, WIDTH, FAMILIES = 2_000, 64, 100
SPACE = "families"


def put(location: Location, numbers: range) -> None:
    """Vectors in families of N / FAMILIES, as proteins are."""
    of = space_schema({"mean": WIDTH}, "float16", None, {})
    ensure_space(location, build.info(SPACE), of)
    centres = np.random.default_rng(5).normal(size=(FAMILIES, WIDTH))
    noise = np.random.default_rng(numbers.start).normal(size=(len(numbers), WIDTH))
    vectors = centres[[n % FAMILIES for n in numbers]] + 0.5 * noise
    ones = [10] * len(numbers)
    rows = space_rows(of, keys=[build.key(n) for n in numbers], unit=f"u{numbers.start}", spans=[(0, 10) for _ in ones],
                      n_residues=ones, n_residues_seen=ones, n_windows=ones, truncated=[False for _ in ones],
                      vectors={"mean": vectors.astype(np.float32)})  # fmt: skip
    build.writer().append_table(location.table(SPACE), rows)


@pytest.fixture
def location(tmp_path: Path) -> Location:
    found = build.store(tmp_path / "s", range(N + 50), per_unit=N + 50)
    put(found, range(N))
    return found


def version(location: Location) -> int:
    return open_table(location.table(SPACE)).version


def test_below_the_threshold_nothing_is_done_and_why_is_said(location: Location) -> None:
    before = version(location)
    (found,) = build_index(location, SPACE)

    assert found.action == "none"
    assert "2,000 rows, below 50,000" in found.reason
    assert version(location) == before


def test_a_forced_index_finds_nearly_all_and_exact_stays_exact(location: Location) -> None:
    store = open_store(location.uri)
    queries = [f"P{n:05d}" for n in range(0, N, 100)]
    exact = {id: store.nearest(id, space=SPACE) for id in queries}

    (planned,) = build_index(location, SPACE, force=True, dry_run=True)
    assert (planned.action, version(location)) == ("build", 2)
    (built,) = build_index(location, SPACE, force=True)

    assert (built.action, indexed_rows(open_table(location.table(SPACE)), "mean")) == ("build", N)
    assert built.indexed == N
    hits = 0
    for id in queries:
        assert store.nearest(id, space=SPACE)["key"] == exact[id]["key"]
        quick = store.nearest(id, space=SPACE, approximate=True)
        assert len(quick) == 10
        hits += len(set(quick["key"].to_pylist()) & set(exact[id]["key"].to_pylist()))
        best = dict(zip(exact[id]["key"].to_pylist(), exact[id]["similarity"].to_pylist(), strict=True))
        for key, similarity in zip(quick["key"].to_pylist(), quick["similarity"].to_pylist(), strict=True):
            assert best.get(key, similarity) == pytest.approx(similarity, abs=1e-3)
    assert hits / (10 * len(queries)) > 0.9


def test_later_rows_are_found_at_once_and_taken_in(location: Location) -> None:
    build_index(location, SPACE, min_rows=1_000)
    put(location, range(N, N + 50))
    table = open_table(location.table(SPACE))
    vector = table.to_table(columns=["mean"], filter=f"key = X'{build.key(N + 7).hex()}'")["mean"][0].values.to_numpy()
    plan = {"column": "mean", "q": vector, "k": 1, "metric": "cosine"}
    assert table.to_table(columns=["key"], nearest=plan)["key"].to_pylist() == [build.key(N + 7)]

    (extended,) = build_index(location, SPACE)
    assert (extended.action, extended.reason) == ("extend", "50 rows came after the index was built")
    assert indexed_rows(open_table(location.table(SPACE)), "mean") == N + 50
    (again,) = build_index(location, SPACE)
    assert again.action == "none"


def test_too_few_rows_are_refused_and_an_empty_index_of_before_is_told(tmp_path: Path) -> None:
    """Of 255 rows Lance makes an index without rows; 256 are the fewest that it takes."""
    name = build.info().name
    location = build.store(tmp_path / "few", range(255), per_unit=255)
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match="has 255 rows and an index needs at least 256"):
            build_index(location, name, force=True, dry_run=dry_run)
    (found,) = build_index(location, name, min_rows=10)
    assert (found.action, found.indexed) == ("none", 0)
    assert "an index needs at least 256" in found.reason
    open_table(location.table(name)).create_index("mean", "IVF_PQ", metric="cosine", num_sub_vectors=1)
    before = open_table(location.table(name)).version
    for _ in range(2):  # a store on disk may hold such an index
        (found,) = build_index(location, name, min_rows=10)
        assert (found.action, found.reason) == ("none", "the index covers 0 of 255 rows, and needs at least 256")
    assert open_table(location.table(name)).version == before
    build.fill(location, name, [255], "last", build.schema())
    (found,) = build_index(location, name, min_rows=10)
    assert (found.action, found.indexed, found.rows) == ("extend", 256, 256)
    (found,) = build_index(location, name, min_rows=10)
    assert (found.action, found.reason) == ("none", "every row is in the index")


def test_refusals(location: Location) -> None:
    with pytest.raises(ConfigError, match="no pooling 'max'; it has mean"):
        build_index(location, SPACE, "max")
    with pytest.raises(UnknownSpaceError):
        build_index(location, "nowhere")
    with Lease.acquire(location), pytest.raises(LeaseHeldError):
        build_index(location, SPACE, force=True)
    assert lance.dataset(location.table(SPACE)).describe_indices() == []
