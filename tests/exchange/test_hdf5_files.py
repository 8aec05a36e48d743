"""HDF5 files in the shapes that other programs write reach the right proteins, and other shapes are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protea_ray.errors import ConfigError, InputError, ProteaRayError
from protea_ray.exchange.formats import open_source
from protea_ray.exchange.imported_space import ImportOptions
from protea_ray.exchange.importing import Imported, import_vectors
from protea_ray.query.reader import Store, open_store
from protea_ray.store.location import open_location
from tests.store import build

h5py = pytest.importorskip("h5py", reason="h5py is not installed")

IDS = ("sp|P02185|MYG_PHYMC", "tr|Q8I1N6|Q8I1N6_PLAF7", "WP_011031384.1", "sp|P69905|HBA_HUMAN", "tr|P69905|HBA_B")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Five proteins without a vector; the last two share an accession."""
    location = open_location(tmp_path / "s")
    build.ingest(location, build.proteins(range(5), ids=IDS))
    return open_store(location.uri)


def take(store: Store, path: Path, run: str = "r1", **options: Any) -> Imported:
    source = open_source(path, options.get("dataset"))
    return import_vectors(source, store.location, ImportOptions("lab", **options), run, build.writer())


def held(store: Store, space: str) -> dict[str, list[float]]:
    table = store.to_arrow(space=space, columns=["id", "mean"])
    return dict(zip(table["id"].to_pylist(), table["mean"].to_pylist(), strict=True))


def flat(path: Path, vectors: dict[str, np.ndarray], by_attribute: bool = False) -> Path:
    with h5py.File(path, "w") as file:
        for number, (id, vector) in enumerate(vectors.items()):
            data = file.create_dataset(str(number) if by_attribute else id, data=vector)
            if by_attribute:
                data.attrs["original_id"] = id
    return path


def fantasia(path: Path, types: dict[int, list[int]], *, letters: bool = True) -> Path:
    """Proteins 0 to 2; the vector of type t and layer k is (10 t + k) times that of the protein."""
    with h5py.File(path, "w") as file:
        for n, id in enumerate(IDS[:3]):
            group = file.require_group(f"accession_{id.replace('|', '_')}")
            if letters:
                group.create_dataset("sequence", data=build.sequence(n).encode())
            for kind, layers in types.items():
                for layer in layers:
                    below = group.require_group(f"type_{kind}").require_group(f"layer_{layer}")
                    below.create_dataset("embedding", data=build.vector(n) * (10 * kind + layer))
    return path


@pytest.mark.parametrize("by_attribute", [False, True])
def test_accessions_whole_headers_and_replaced_characters(store: Store, tmp_path: Path, by_attribute: bool) -> None:
    names = ["P02185", "tr|Q8I1N6|Q8I1N6_PLAF7 Some protein OS=Plasmodium", "WP_011031384_1"]
    path = flat(tmp_path / "v.h5", {n: build.vector(i) for i, n in enumerate(names)}, by_attribute)
    done = take(store, path, store_dtype="float32")
    assert (done.read, done.stored, done.format) == (3, 3, "biotrainer-h5")
    assert held(store, done.space) == {id: build.vector(n).tolist() for n, id in enumerate(IDS[:3])}


def test_a_whole_header_is_itself_though_its_accession_is_of_two(store: Store, tmp_path: Path) -> None:
    vectors = {"sp|P69905|HBA_HUMAN Hemoglobin": build.vector(3), "P69905": build.vector(4)}
    done = take(store, flat(tmp_path / "v.h5", vectors), store_dtype="float32")
    assert (done.stored, done.ambiguous, done.ambiguous_names) == (1, 1, ["P69905"])
    assert held(store, done.space) == {IDS[3]: build.vector(3).tolist()}


@pytest.mark.parametrize("letters", [True, False])
def test_groups_with_one_vector_each(store: Store, tmp_path: Path, letters: bool) -> None:
    done = take(store, fantasia(tmp_path / "v.h5", {1: [0]}, letters=letters), store_dtype="float32")
    assert (done.stored, done.format) == (3, "fantasia-h5")
    assert np.allclose(held(store, done.space)[IDS[1]], 10 * build.vector(1))


def test_of_several_vectors_one_must_be_named(store: Store, tmp_path: Path) -> None:
    path = fantasia(tmp_path / "v.h5", {1: [0, 5], 2: [0, 7]})
    with pytest.raises(ConfigError, match=r"several vectors.*type_1/layer_5, type_2/layer_0, type_2/layer_7; name"):
        take(store, path)
    with pytest.raises(ConfigError, match=r"several vectors for each protein: type_1/layer_0, type_2/layer_0; name"):
        take(store, path, layer=0)
    with pytest.raises(ConfigError, match=r"no such vector.*type_1/layer_0"):
        take(store, path, dataset="type_1/layer_50")
    with pytest.raises(ConfigError, match="no such vector"):
        take(store, path, dataset="type_2/layer_7/emb")  # the beginning of a name is no path
    wanted = {"layer_5": {"layer": 5}, "by path": {"dataset": "type_2/layer_7"},
              "both": {"dataset": "type_2", "layer": 0}, "file": {"dataset": "/type_1/layer_5/embedding"}}  # fmt: skip
    factors = {"layer_5": 15, "by path": 27, "both": 20, "file": 15}
    spaces = set()
    for name, options in wanted.items():
        done = take(store, path, name, store_dtype="float32", **options)
        assert np.allclose(held(store, done.space)[IDS[0]], factors[name] * build.vector(0))
        spaces.add(done.space)
    assert len(spaces) == 4
    assert not store.location.exists("none")


def test_groups_of_another_program(store: Store, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        for n, id in enumerate(["P02185", "Q8I1N6"]):
            file.require_group(id).create_dataset("prott5/mean", data=build.vector(n))
    done = take(store, tmp_path / "v.h5")
    assert (done.stored, done.format) == (2, "groups-h5")


def test_a_protein_without_the_vector_is_counted_and_damage_is_said(store: Store, tmp_path: Path) -> None:
    path = fantasia(tmp_path / "v.h5", {1: [0, 5]})
    with h5py.File(path, "a") as file:
        del file[f"accession_{IDS[1].replace('|', '_')}/type_1/layer_5"]
        file.require_group("accession_zz/type_1")
    done = take(store, path, layer=5)
    assert (done.stored, done.unmatched, done.rejected) == (2, 1, {"unreadable": 1})
    whole = flat(tmp_path / "w.h5", {f"x{n}": np.ones(5000) for n in range(40)}).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        take(store, tmp_path / "cut.h5")


def columns(file: Any) -> None:
    file["ids"] = np.array([b"P02185", b"Q8I1N6"])
    file["embeddings"] = np.ones((2, 8), np.float32)


def by_species(file: Any) -> None:
    file["species/5833/proteins"] = np.array([b"P02185"])
    file["species/5833/embeddings"] = np.ones((1, 8), np.float32)


def anndata(file: Any) -> None:
    file["X"] = np.ones((2, 8), np.float32)
    file.require_group("obs/index")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (columns, "the lists ids.*it has embeddings, ids"),
        (by_species, "the lists species/5833/proteins"),
        (anndata, "the groups obs beside data sets"),
        (lambda file: None, "is empty"),
        (lambda file: file.require_group("run1/config"), "the groups run1, and no vector in them"),
        (lambda file: file.create_dataset("P02185", data=np.ones((3, 5, 8))), r"no vector.*\(shape\)"),
        (lambda file: file.create_dataset("Q1", data=np.ones(8)), "none of 1 vectors.*'Q1'.*ids like 'sp|P02185"),
        (lambda file: file.create_dataset("P69905", data=np.ones(8)), "1 whose id stands for several sequences"),
        (lambda file: file.create_dataset("P02185", data=np.full(8, 1e6)), r"1 rejected \(non_finite\)"),
    ],
)
def test_what_stores_nothing_is_an_error_and_makes_no_space(
    store: Store, tmp_path: Path, write: Callable[[Any], object], words: str
) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        write(file)
    before = store.location.tables()
    with pytest.raises(InputError, match=words):
        take(store, tmp_path / "v.h5")
    assert store.location.tables() == before


def test_a_choice_where_there_is_none_and_a_store_without_proteins(store: Store, tmp_path: Path) -> None:
    path = flat(tmp_path / "v.h5", {"P02185": build.vector(0)})
    with pytest.raises(ConfigError, match="--dataset chooses nothing"):
        take(store, path, dataset="type_1")
    empty = Store(open_location(tmp_path / "nothing"))
    with pytest.raises(ProteaRayError, match="holds no proteins to match vectors to"):
        take(empty, path)
    assert not (tmp_path / "nothing").exists()
