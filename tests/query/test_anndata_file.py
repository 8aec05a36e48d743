"""The .h5ad has what scanpy and cellxgene ask of it, whatever the ids and labels are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protea_ray.errors import ConfigError, InputError
from protea_ray.mistakes import Mistakes
from protea_ray.query.map_request import MapOptions, map_request
from protea_ray.query.reader import Store, open_store
from protea_ray.query.space_map import space_map
from protea_ray.store.commit import write_fragments
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.spaces import ensure_space
from tests.store import build

pytest.importorskip("anndata", reason="anndata is not installed")
h5py = pytest.importorskip("h5py", reason="h5py is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # anndata's own

IDS = [*(f"P{n:05d}" for n in range(10)), "same", "same", "a/b", "P00000 again"]
NUMBERS = [*range(13), 0]  # the last record has the letters of the first


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Thirteen proteins of two poolings in half precision, two of one id, and another id of the first one."""
    location = build.store(tmp_path_factory.mktemp("anndata") / "s", range(0))
    build.ingest(location, build.proteins(NUMBERS, "b", IDS), "b", "d2")
    of = space_schema({"mean": build.WIDTH, "max": build.WIDTH}, "float16", None, {})
    ensure_space(location, build.info("both", config={**build.info().config, "pooling": ["mean", "max"]}), of)
    lengths = [len(build.sequence(n)) for n in range(13)]
    rows = space_rows(
        of, keys=[build.key(n) for n in range(13)], unit="u", spans=[(0, length) for length in lengths],
        n_residues=lengths, n_residues_seen=lengths, n_windows=[1] * 13, truncated=[False] * 13,
        vectors={"mean": [build.vector(n) for n in range(13)], "max": [build.vector(n + 50) for n in range(13)]},
    )  # fmt: skip
    uri = location.table("both")
    build.writer().append(uri, write_fragments(uri, rows, of))
    return open_store(location.uri)


def half(offset: int = 0) -> np.ndarray:
    return np.array([build.vector(n + offset) for n in NUMBERS], np.float16).astype(np.float32)


def read(path: Path) -> Any:
    import anndata

    return anndata.read_h5ad(path)


def test_cellxgene_takes_the_index_and_the_layouts(store: Store, tmp_path: Path) -> None:
    """The rules of cellxgene 1.3.0, server/data_anndata/anndata_adaptor.py: _alias_annotation_names and
    _is_valid_layout."""
    done = store.export(tmp_path / "v.h5ad", space="both")
    found = read(tmp_path / "v.h5ad")
    assert found.obs.index.is_unique
    assert found.obs.columns.is_unique
    assert found.obs["id"].tolist() == IDS
    assert found.obs_names.tolist() == [id if n != 11 else "same-2" for n, id in enumerate(IDS)]
    assert done.notes == (
        "1 rows have an id that another row has ('same' is named 'same-2'); the column id has the id",
    )
    assert found.X.dtype == np.float32
    layouts = {name: found.obsm[name] for name in found.obsm}
    assert sorted(layouts) == ["X_max", "X_mean", "X_pca"]
    for places in layouts.values():
        assert type(places) is np.ndarray
        assert places.dtype.kind == "f"
        assert places.shape[0] == 14
        assert places.shape[1] >= 2
        assert np.isfinite(places).all()


def test_every_pooling_is_there_and_that_of_x_is_stored_once(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.h5ad", space="both")
    found = read(tmp_path / "v.h5ad")
    assert np.array_equal(found.X, half())
    assert np.array_equal(found.obsm["X_mean"], half())
    assert np.array_equal(found.obsm["X_max"], half(50))
    with h5py.File(tmp_path / "v.h5ad") as file:
        assert file["X"] == file["obsm/X_mean"]  # two names of one object
    store.export(tmp_path / "max.h5ad", space="both", pooling="max")
    found = read(tmp_path / "max.h5ad")
    assert np.array_equal(found.X, half(50))
    assert sorted(found.obsm) == ["X_max", "X_pca"]


def test_x_pca_is_the_map(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.h5ad", space="both")
    found = read(tmp_path / "v.h5ad")
    asked = map_request(store.location, "both", MapOptions(), Mistakes("map"))
    drawn = space_map(asked, neighbours=False)
    at = {id: (x, y) for id, x, y in zip(drawn.ids, drawn.x, drawn.y, strict=True)}
    for row, id in enumerate(IDS):
        if id in at and id != "same":
            assert np.allclose(found.obsm["X_pca"][row], at[id], atol=1e-6)
    assert np.array_equal(found.obsm["X_pca"][0], found.obsm["X_pca"][13])  # one protein, one place
    assert np.allclose(found.uns["pca"]["variance_ratio"], drawn.explained)


def test_labels_become_columns_and_are_accounted_for(store: Store, tmp_path: Path) -> None:
    text = "id,my/class,score\n" + "".join(f"P{n:05d},{'ab'[n % 2]},{n / 3}\n" for n in range(1, 12))
    (tmp_path / "labels.csv").write_text(text)
    done = store.export(tmp_path / "v.h5ad", space="both", labels=tmp_path / "labels.csv")
    found = read(tmp_path / "v.h5ad").obs
    assert found["my_class"].isna().tolist() == [not 1 <= n <= 9 for n in range(14)]
    assert found["my_class"].tolist()[1:10] == ["ab"[n % 2] for n in range(1, 10)]
    assert np.allclose(found["score"].tolist()[1:10], [n / 3 for n in range(1, 10)])
    assert np.isnan(found["score"].iloc[0])
    assert any("my/class" in note and "9 of 14" in note for note in done.notes)


def test_labels_that_have_no_place_are_refused_before_the_store_is_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "view", lambda *_: pytest.fail("the store was read"))
    with pytest.raises(ConfigError, match=r"labels go to \.h5ad alone"):
        store.export(tmp_path / "v.csv", labels={"P00001": 1})
    with pytest.raises(InputError, match="cannot be read as labels"):
        store.export(tmp_path / "v.h5ad", labels=tmp_path / "none.csv")
    assert not list(tmp_path.iterdir())


def test_one_protein_is_a_file_too(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.h5ad", space="both", ids=["P00003"])
    found = read(tmp_path / "v.h5ad")
    assert found.shape == (1, build.WIDTH)
    assert found.obsm["X_pca"].tolist() == [[0, 0]]
    assert "pca" not in found.uns
