"""Clusters and the split, in process and through Ray, against scipy and against what honest means."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.errors import InputError, StoreError
from protea_ray.sequences.words import relatives
from protea_ray.store.location import open_location
from protea_ray.train import stored_split
from protea_ray.train.cluster_job import relatives_by_ray
from protea_ray.train.clusters import choose_validation, clusters_of, split_here
from protea_ray.train.proteins import Proteins, from_store, from_table
from tests.store import build
from tests.stores import names


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_clusters_are_the_components(graph: tuple[int, list[tuple[int, int]]]) -> None:
    n, edges = graph
    cluster = clusters_of(n, np.array(edges, np.int64).reshape(-1, 2))
    group = {i: {i} for i in range(n)}  # sets are merged one edge after the other
    for a, b in edges:
        if group[a] is not group[b]:
            group[a] |= group[b]
            for member in group[b]:
                group[member] = group[a]
    for i in range(n):
        assert set(np.flatnonzero(cluster == cluster[i]).tolist()) == group[i]
    first = list(dict.fromkeys(cluster.tolist()))
    assert first == list(range(len(first)))


def test_a_long_chain_is_one_cluster() -> None:
    n = 20_000
    order = np.random.default_rng(0).permutation(n)
    assert (clusters_of(n, np.stack([order[:-1], order[1:]], axis=1)) == 0).all()


def sequences(n: int = 300, seed: int = 0) -> list[str]:
    """Families of three that share 25 words, one of 30 that stands last, and strangers."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))

    def text(length: int) -> str:
        return "".join(rng.choice(letters, length))

    heads = [text(30) for _ in range(n // 6 + 1)]
    kin = [heads[i // 3] + text(60) for i in range(n // 2)]
    strangers = [text(90) for _ in range(n - n // 2 - 30)]
    large = text(30)
    return [*kin, *strangers, *(large + text(60) for _ in range(30))]


def table_of(texts: list[str]) -> pa.Table:
    return pa.table({"id": [f"p{i}" for i in range(len(texts))], "sequence": texts})


def test_no_validation_protein_has_a_relative_in_training() -> None:
    texts = sequences()
    proteins = split_here(from_table(table_of(texts)), share=0.1, seed=0)
    assert 24 <= proteins.split.sum() <= 30  # 10 % of 300, less what whole clusters leave
    for a, b in relatives(texts).tolist():
        assert proteins.split[a] == proteins.split[b] and proteins.cluster[a] == proteins.cluster[b]
    assert not proteins.split[-30:].any()  # the largest cluster
    assert proteins.is_split


@pytest.mark.parametrize("seed", range(5))
def test_the_share_is_kept_and_the_seed_decides(seed: int) -> None:
    size = np.random.default_rng(0).geometric(0.3, 2_000)
    cluster = np.random.default_rng(1).permutation(np.repeat(np.arange(2_000), size))
    split = choose_validation(cluster, 0.05, seed)
    assert 0.0495 <= split.mean() <= 0.05
    assert all(len(set(split[cluster == c].tolist())) == 1 for c in range(0, 2_000, 7))
    assert not split[cluster == np.argmax(np.bincount(cluster))].any()
    assert (split == choose_validation(cluster, 0.05, seed)).all()
    assert (split != choose_validation(cluster, 0.05, seed + 1)).any()


def test_the_largest_cluster_is_for_training_even_where_it_fits() -> None:
    cluster = np.array([0, 1, 2, 2, 2, *range(3, 30)])
    for seed in range(10):
        assert choose_validation(cluster, 0.95, seed).tolist() == (cluster != 2).tolist()


def test_a_split_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"0 of 100 proteins .* not 5.0%: the largest of 5 cluster\(s\) has 20"):
        choose_validation(np.repeat(np.arange(5), 20), 0.05, 0)
    with pytest.raises(InputError, match="more proteins"):
        choose_validation(np.arange(10), 0.05, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_ray_finds_the_same_pairs() -> None:
    texts = sequences(400)
    proteins = from_table(table_of(texts))
    found = relatives_by_ray(proteins, stretch=5_000, bucket=9_000)
    assert found.tolist() == relatives(texts).tolist()
    assert len(found) > 300


def here(proteins: Proteins) -> np.ndarray:
    """Relatives without Ray."""
    return relatives(proteins.sequences(np.arange(len(proteins))))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store's proteins, and relatives found in this process instead of by Ray."""
    monkeypatch.setattr(
        "protea_ray.train.cluster_job.relatives_by_ray", lambda p: relatives(p.sequences(range(len(p))))
    )
    location = open_location(tmp_path / "store")
    build.ingest(location, build.proteins(range(200)))
    return tmp_path / "store"


def of(store: Path) -> Proteins:
    return from_store(store)


def test_a_split_is_made_once_and_read_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(p.name for p in store.iterdir())
    made = stored_split.split_stored(of(store), 0.1, seed=3)
    (file,) = store.glob("clusters-*.parquet")
    assert sorted(p.name for p in store.iterdir()) == sorted([*before, file.name])
    assert file.name.split("-")[1] == str(made.pin["version"]) and len(file.stem.split("-")[2]) == 8
    table = pq.read_table(file)
    assert table.column_names == ["key", "cluster", "is_validation"]
    assert table["key"].to_pylist() == made.keys.to_pylist()
    assert table["is_validation"].to_pylist() == made.split.tolist()
    assert "cluster" not in names(store / "proteins.lance")

    monkeypatch.setattr("protea_ray.train.cluster_job.relatives_by_ray", lambda p: pytest.fail("made again"))
    again = stored_split.split_stored(of(store), 0.1, seed=3)
    assert (again.split == made.split).all() and (again.cluster == made.cluster).all()
    with pytest.raises(pytest.fail.Exception):
        stored_split.split_stored(of(store), 0.1, seed=4)  # another split has another file


def test_a_file_that_is_another_split_is_refused(store: Path) -> None:
    made = stored_split.split_stored(of(store), 0.1, seed=3)
    (file,) = store.glob("clusters-*.parquet")
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    with pytest.raises(StoreError, match=r"other proteins\. Remove it"):
        stored_split.split_stored(of(store), 0.1, seed=3)
    rule = json.loads(table.schema.metadata[b"protea.split"])
    changed = json.dumps({**rule, "seed": 9}, sort_keys=True)
    pq.write_table(table.replace_schema_metadata({"protea.split": changed}), file)
    with pytest.raises(StoreError, match="another rule"):
        stored_split.split_stored(of(store), 0.1, seed=3)
    file.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=file.name):
        stored_split.split_stored(of(store), 0.1, seed=3)
    file.unlink()
    assert (stored_split.split_stored(of(store), 0.1, seed=3).split == made.split).all()


def test_a_store_that_cannot_be_written_still_gives_a_split(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: object, local: str, name: str) -> None:
        raise OSError("read-only")

    from lance.file import LanceFileSession

    monkeypatch.setattr(LanceFileSession, "upload_file", refuse)
    with caplog.at_level(logging.WARNING, "protea_ray"):
        made = stored_split.split_stored(of(store), 0.1, seed=3)
    assert made.is_split and "read-only" in caplog.text
    assert Counter(made.split.tolist())[True] <= 20
