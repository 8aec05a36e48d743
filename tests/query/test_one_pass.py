"""The nearest proteins of many queries in one pass are those that comparing every pair gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.query import one_pass, search
from protea_ray.query.one_pass import QueryRows, search_in_one_pass
from protea_ray.query.reader import Store, open_store
from protea_ray.query.view import View
from protea_ray.store.keys import KeyIndex, key_array
from protea_ray.store.rows import space_rows
from protea_ray.store.spaces import ensure_space
from tests.store import build

CHUNKED = {"model": "m", "family": "esm2", "layers": [0], "pooling": ["mean"], "chunk_size": 10, "chunk_overlap": 0}
PROTEINS, CHUNKS = 60, 3
TWINS = (7, 31)  # two proteins with the same vectors


def vector(number: int, chunk: int) -> np.ndarray:
    """Of any length: similarity is the angle alone."""
    number = TWINS[0] if number in TWINS else number
    return (1 + number) * build.vector(100 * number + chunk)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Sixty proteins of three chunks each, in four fragments, and the same without chunks."""
    location = build.store(tmp_path_factory.mktemp("pass") / "s", range(PROTEINS))
    of = build.schema(dtype="float16")
    ensure_space(location, build.info("chunked", config=CHUNKED, identity={"chunk": 10}), of)
    ensure_space(location, build.info("whole", identity={"chunk": 0}), of)
    for part in np.array_split(np.arange(PROTEINS), 4):
        for space, chunks in (("chunked", CHUNKS), ("whole", 1)):
            numbers = part.tolist()
            spans = [[(i, i + 1) for i in range(chunks)] for _ in numbers]
            rows = space_rows(
                of, keys=[build.key(n) for n in numbers], unit=f"u{part[0]}", spans=spans,
                n_residues=[chunks] * len(numbers), n_residues_seen=[chunks] * len(numbers),
                n_windows=[1] * len(numbers), truncated=[False] * len(numbers),
                vectors={"mean": [np.stack([vector(n, i) for i in range(chunks)]) for n in numbers]},
            )  # fmt: skip
            build.writer().append_table(location.table(space), rows)
    return open_store(location.uri)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def expected(rows: np.ndarray, chunks: int, among: list[int], k: int) -> list[tuple[bytes, float]]:
    """Every pair, in plain Python."""
    best = {
        build.key(n): max(cosine(r, vector(n, c).astype(np.float16)) for r in rows for c in range(chunks))
        for n in among
    }
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:k]


def asked(seed: int, of: list[int]) -> QueryRows:
    """Queries of as many rows as `of` says."""
    rows = np.random.default_rng(seed).normal(size=(sum(of), build.WIDTH)).astype(np.float32)
    return QueryRows(rows, np.repeat(np.arange(len(of)), of), len(of))


@pytest.fixture(params=[8192, 7], ids=["one batch", "batches of 7"])
def view(store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> View:
    """A view whose scans give batches of so many rows, which cut through the chunks of a protein."""
    found = store.view("chunked")
    whole, schema = found.vectors.to_batches, found.vectors.schema

    def cut(**how: Any) -> list[pa.RecordBatch]:
        table = pa.Table.from_batches(whole(**how)).combine_chunks()
        return table.to_batches(max_chunksize=request.param)

    monkeypatch.setattr(found, "vectors", type("Scanned", (), {"to_batches": staticmethod(cut), "schema": schema})())
    return found


@pytest.mark.parametrize("k", [1, 4, 59, 500])
def test_every_query_has_the_proteins_that_all_pairs_give(view: View, monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    monkeypatch.setattr(one_pass, "_AT_A_TIME", 5)  # blocks of queries that cut through a query's rows
    monkeypatch.setattr(one_pass, "_PAIRS", 11)
    queries = asked(3, [1, 4, 2, 1, 3, 1])
    found = search_in_one_pass(view, queries, k, "mean")
    for number, neighbours in enumerate(found):
        wanted = expected(queries.of(number), CHUNKS, list(range(PROTEINS)), k)
        assert neighbours.keys == [key for key, _ in wanted]
        assert np.allclose(neighbours.similarity, [s for _, s in wanted], rtol=0, atol=1e-12)


def test_only_allowed_proteins_count(view: View) -> None:
    queries = asked(4, [1, 2])
    allowed = [3, 9, *TWINS, 44, 58]
    found = search_in_one_pass(view, queries, 4, "mean", KeyIndex(key_array(build.key(n) for n in allowed)))
    for number, neighbours in enumerate(found):
        assert neighbours.keys == [key for key, _ in expected(queries.of(number), CHUNKS, allowed, 4)]
    assert search_in_one_pass(view, queries, 4, "mean", KeyIndex(key_array([b"x" * 16])))[0].keys == []


def test_of_equal_similarity_the_smaller_key_is_first(view: View) -> None:
    rows = np.stack([vector(TWINS[0], 1)])
    (found,) = search_in_one_pass(view, QueryRows(rows, np.zeros(1, int), 1), 1, "mean")
    assert found.keys == [min(build.key(n) for n in TWINS)]


def test_a_similarity_does_not_depend_on_the_other_queries(store: Store) -> None:
    view = store.view("whole")
    many = asked(5, [1] * 300)
    together = search_in_one_pass(view, many, 5, "mean")
    for number in (0, 17, 299):
        alone = search_in_one_pass(view, QueryRows(many.of(number), np.zeros(1, int), 1), 5, "mean")
        assert alone[0] == together[number]


@pytest.mark.parametrize("space", ["chunked", "whole"])
def test_one_query_and_many_take_two_ways_to_the_same_proteins(store: Store, space: str) -> None:
    view, given = store.view(space), asked(6, [1, 2, 1, 3])
    queries = QueryRows(given.rows.astype(np.float16), given.owner, given.count)
    together = search.search(view, queries, 6, "mean", None)
    for number, neighbours in enumerate(together):
        rows = queries.of(number)
        alone = search.search(view, QueryRows(rows, np.zeros(len(rows), int), 1), 6, "mean", None)[0]
        assert alone.keys == neighbours.keys
        assert np.allclose(alone.similarity, neighbours.similarity, rtol=0, atol=1e-6)


def test_a_query_is_not_rounded_to_the_type_of_the_column(store: Store) -> None:
    rows = asked(8, [1]).rows
    found = store.search(rows[0], 3, space="whole")
    wanted = [s for _, s in expected(rows, 1, list(range(PROTEINS)), 3)]
    assert np.allclose(found["similarity"].to_pylist(), wanted, rtol=0, atol=1e-7)
