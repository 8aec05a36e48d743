"""Other tools open the store directory without this package."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np
import pytest

from protea_ray.query.export import export
from protea_ray.query.reader import Store, open_store
from protea_ray.store.spaces import ensure_space
from tests.store import build

SPACE = "esm2-00000001"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    location = build.store(tmp_path_factory.mktemp("interop") / "s", range(30), with_residues=True)
    of = build.schema(dtype="float16")
    ensure_space(location, build.info("half"), of)
    build.fill(location, "half", range(30), "u", of)
    return open_store(location.uri)


@pytest.mark.filterwarnings("ignore")  # the other tools' own
def test_lancedb_opens_the_store_and_searches_it(store: Store) -> None:
    lancedb = pytest.importorskip("lancedb", reason="lancedb is not installed")
    opened = lancedb.connect(store.uri)
    assert {"proteins", SPACE, "half"} <= set(opened.table_names())
    table = opened.open_table("half")
    query = build.vector(3).astype(np.float16)
    found = table.search(query, vector_column_name="mean").distance_type("cosine").limit(6).to_arrow()
    ids = {build.key(n): f"P{n:05d}" for n in range(30)}
    assert [ids[k] for k in found["key"].to_pylist()][1:] == store.nearest("P00003", 5, space="half")["id"].to_pylist()


def test_polars_reads_it(store: Store) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.from_arrow(lance.dataset(store.location.table("half")).to_table())
    assert frame.shape[0] == 30
    assert frame["n_residues"].to_list() == [len(build.sequence(n)) for n in range(30)]


def test_pandas_reads_it(store: Store) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = lance.dataset(store.location.table("proteins")).to_table().to_pandas()
    assert frame["id"].tolist() == [f"P{n:05d}" for n in range(30)]


def test_duckdb_reads_a_projection_and_the_single_precision_export(store: Store, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    proteins = lance.dataset(store.location.table("proteins"))
    held = proteins.to_table(columns=["id", "length"])
    (longest,) = duckdb.sql("SELECT id FROM held ORDER BY length DESC, id LIMIT 1").fetchall()
    lengths = [len(build.sequence(n)) for n in range(30)]
    assert longest == (f"P{lengths.index(max(lengths)):05d}",)
    assert len(held) == 30
    export(store, tmp_path / "v.parquet", space="half", float32=True)
    rows = duckdb.sql(f"SELECT id, mean FROM '{tmp_path}/v.parquet' ORDER BY id").fetchall()
    assert np.array_equal(np.array(rows[4][1], np.float32), build.vector(4).astype(np.float16).astype(np.float32))
    export(store, tmp_path / "h.parquet", space="half")
    ((half,),) = duckdb.sql(f"SELECT mean FROM '{tmp_path}/h.parquet' WHERE id = 'P00004'").fetchall()
    assert np.array_equal(np.array(half, np.float16), build.vector(4).astype(np.float16))


@pytest.mark.filterwarnings("ignore")  # the other tools' own
def test_hugging_face_datasets_loads_a_space(store: Store) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    table = lance.dataset(store.location.table(SPACE)).to_table(columns=["unit", "mean"])
    loaded = datasets.Dataset(table)
    assert len(loaded) == 30
    assert np.allclose(loaded[5]["mean"], build.vector(5))
