"""A search with sequences that are not in the store gives what `nearest` gives once they are."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from protea_ray.errors import CheckpointError, ConfigError, InputError, StoreError
from protea_ray.query.reader import Store, open_store
from protea_ray.query.view import missing
from protea_ray.sequences import spool
from protea_ray.sequences.synth import synthesise
from protea_ray.store.location import open_location
from protea_ray.store.spaces import ensure_space
from protea_ray.testing import random_checkpoint as checkpoints
from tests import commands
from tests.plain import PlainEsm
from tests.query.worked import embed_here
from tests.store import build

ALL = list(dict.fromkeys(p.sequence for p in synthesise(60, 11, None, 90)))
OLD = {f"old{n}": s for n, s in enumerate(ALL[:30])}
NEW = {f"new{n}": s for n, s in enumerate(ALL[30:38])}
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "two layers, residues": {"layers": [0, 1], "layer_agg": "concat", "pooling": ["mean", "max", "none"]},
    "chunks, windows, float32": {"chunk_size": 30, "chunk_overlap": 10, "max_residues": 25, "window_overlap": 5,
                                 "store_dtype": "float32", "normalize": False},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, esm2: Path) -> Store:
    """Thirty proteins in the default recipe."""
    location = open_location(tmp_path_factory.mktemp("new") / "s")
    embed_here(location, esm2, OLD, "old.fasta")
    return open_store(location.uri)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that tests may break."""
    return checkpoints.build("esm2", tmp_path_factory.mktemp("own") / "mine", layers=2, hidden=32, seed=5)


def fasta(path: Path, sequences: dict[str, str]) -> Path:
    path.write_text("".join(f">{id} of a test\n{letters}\n" for id, letters in sequences.items()))
    return path


def of_query(table: pa.Table, name: str) -> list[dict[str, Any]]:
    return [row for row in table.to_pylist() if row["query"] == name]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_neighbours_are_those_after_embedding_the_file(tmp_path: Path, esm2: Path, recipe: dict[str, Any]) -> None:
    location = open_location(tmp_path / "s")
    embed_here(location, esm2, OLD, "old.fasta", **recipe)
    store = open_store(location.uri)
    before = store.search(fasta=fasta(tmp_path / "new.fasta", NEW), k=5)
    only_one = store.search({"new3": NEW["new3"]}, k=5)
    embed_here(location, esm2, NEW, "new.fasta", **recipe)
    assert of_query(only_one, "new3") == [
        {**row, "similarity": pytest.approx(row["similarity"], abs=1e-6)} for row in of_query(before, "new3")
    ]
    for name in NEW:
        after = store.nearest(name, k=5, where="id LIKE 'old%'")
        found = of_query(before, name)
        assert [row["id"] for row in found] == after["id"].to_pylist()
        assert [row["rank"] for row in found] == [1, 2, 3, 4, 5]
        assert np.allclose([row["similarity"] for row in found], after["similarity"].to_pylist(), rtol=0, atol=1e-5)


def test_similarities_are_those_of_plain_transformers(store: Store, esm2: Path) -> None:
    plain = PlainEsm(esm2)
    old = {id: plain.mean(letters) for id, letters in OLD.items()}
    query = plain.mean(NEW["new0"])
    # stored in float16: 11 bits
    wanted = sorted(old, key=lambda id: -float(old[id] @ query))[:4]
    found = store.search(NEW["new0"], k=4)
    assert found["id"].to_pylist() == wanted
    assert found["query"].to_pylist() == ["query1"] * 4
    assert np.allclose(found["similarity"].to_pylist(), [old[id] @ query for id in wanted], rtol=0, atol=1e-3)


def test_a_stored_sequence_finds_itself_without_a_model(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("protea_ray.query.own_recipe.open_checkpoint", lambda *_: pytest.fail("not needed"))
    found = store.search([OLD["old4"], OLD["old9"].lower()], k=3)
    first = [row for row in found.to_pylist() if row["rank"] == 1]
    assert [(row["query"], row["id"]) for row in first] == [("query1", "old4"), ("query2", "old9")]
    assert np.allclose([row["similarity"] for row in first], 1, rtol=0, atol=1e-6)
    assert "2 of the queries are stored already and find themselves: query1 is old4, query2 is old9" in caplog.text
    others = [row["id"] for row in of_query(found, "query1")][1:]
    assert others == store.nearest("old4", k=2)["id"].to_pylist()


def test_vectors_are_queries_too(store: Store) -> None:
    vectors = np.stack([build.vector(n, 32) for n in range(5)])
    together = store.search(vectors, k=3)
    stored = store.to_arrow()
    matrix = np.array(stored["mean"].to_pylist(), np.float64)
    cosine = vectors @ matrix.T / np.linalg.norm(matrix, axis=1)
    for number, row in enumerate(cosine):
        wanted = [stored["id"][int(i)].as_py() for i in np.argsort(-row)[:3]]
        assert [r["id"] for r in of_query(together, f"query{number + 1}")] == wanted
    for same in (vectors[0].tolist(), torch.tensor(vectors[0]), vectors[:1].astype(np.float64)):
        assert store.search(same, k=3)["id"].to_pylist() == [r["id"] for r in of_query(together, "query1")]
    assert store.search(stored["mean"], k=1)["id"].to_pylist() == stored["id"].to_pylist()


@pytest.mark.parametrize(
    ("queries", "said"),
    [
        ([0.1] * 31, r"have 32 values, and the query has the shape \(31,\)"),
        (np.full((2, 32), np.nan), "vector 1 of 2 holds NaN"),
        (np.zeros(32), "vector 1 of 1 is all zeros"),
        ([[1.0], [1.0, 2.0]], "several lengths"),
        (Path("new.fasta"), "give it as fasta='new.fasta'"),
        ({"a": 3}, "a is int; give letters"),
        (None, "no query was given"),
    ],
)
def test_what_is_no_query_is_said(store: Store, queries: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        store.search(queries)


def test_nearest_names_the_search_that_takes_vectors_and_letters(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"is list; store.search\(...\) takes vectors"):
        store.nearest([0.1] * 320)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=r"--sequence LETTERS"):
        store.nearest(NEW["new0"])
    with pytest.raises(ConfigError, match="at least 1"):
        store.search(NEW["new0"], k=0)


def test_records_that_are_no_proteins_are_named_and_the_others_searched(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "mixed.fasta"
    file.write_text(f">good\n{NEW['new1']}\n>aligned\nMK--TAY\n>good\n{NEW['new1']}\n>good\n{NEW['new2']}\n")
    done = commands.call("query", store.uri, "--fasta", file, "--sequence", "M1K", "-k", "2", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert [row["query"] for row in found["proteins"]] == ["good", "good", *[f"good ({file}:7)"] * 2]
    assert found["rejected"][0].startswith("query1 ('M1K'): letter '1', residue 2 (illegal_letter); a protein that is")
    assert found["rejected"][1] == f"{file}:3: aligned: letter '-', residue 3 (illegal_letter)"
    none = commands.call("query", store.uri, "--sequence", "M-K", "--sequence", "12")
    assert (none.returncode, none.stdout) == (1, "")
    assert "query1 ('M-K')" in none.stderr
    assert "query2 ('12')" in none.stderr


def test_files_of_every_kind_and_standard_input(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = fasta(tmp_path / "one.fasta", {"new0": NEW["new0"]})
    packed = tmp_path / "two.fasta.gz"
    packed.write_bytes(gzip.compress(f">new1\n{NEW['new1']}\n".encode()))
    typed = SimpleNamespace(buffer=io.BytesIO(f">new2\n{NEW['new2']}\n".encode()), isatty=lambda: False)
    monkeypatch.setattr(spool, "sys", SimpleNamespace(stdin=typed))
    spool._standard_input.cache_clear()
    found = store.search(fasta=[one, packed, "-"], k=1)
    spool._standard_input.cache_clear()
    assert found["query"].to_pylist() == ["new0", "new1", "new2"]
    with pytest.raises(InputError, match=r"gone.fasta: no such file"):
        store.search(fasta=[one, tmp_path / "gone.fasta"])


def test_nothing_is_written_and_the_reject_of_the_recipe_is_named(tmp_path: Path, esm2: Path) -> None:
    location = open_location(tmp_path / "s")
    embed_here(location, esm2, {"short": "MKTAYIAKQR"}, "old.fasta", max_residues=20, on_long="reject")
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "s").rglob("*"))
    store = open_store(location.uri)
    table = store.search({"long": "MKTAY" * 5, "fits": "MKTAYIAKQRQ"}, k=1)
    assert table["query"].to_pylist() == ["fits"]
    assert missing(table)["rejected"] == ["long: long: 25 residues, max_residues is 20 (too_long)"]
    with pytest.raises(InputError, match="too_long"):
        store.search("MKTAY" * 5)
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "s").rglob("*")) == before


def test_only_the_recorded_checkpoint_may_embed(tmp_path: Path, model: Path) -> None:
    here = tmp_path / "mine"
    shutil.copytree(model, here)
    location = open_location(tmp_path / "s")
    space = embed_here(location, here, {"p1": "MKTAYIAKQR"}, "old.fasta")
    store = open_store(location.uri)
    found = store.search("MKTAYIAKQRQ")
    here.rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match=rf"checkpoint of space {space} cannot be opened: .* --model"):
        store.search("MKTAYIAKQRQ")
    assert store.search("MKTAYIAKQRQ", model=str(tmp_path / "moved")).equals(found)
    checkpoints.build("esm2", here, layers=2, hidden=32, seed=6)
    with pytest.raises(CheckpointError, match=rf"mine is not the checkpoint of space {space} \(model.safetensors is"):
        store.search("MKTAYIAKQRQ")


def test_spaces_that_cannot_be_searched_with_letters_say_so(tmp_path: Path, esm2: Path) -> None:
    location = build.store(tmp_path / "s", range(3))
    ensure_space(location, build.info("theirs", imported=True, identity={"import": 1}), build.schema())
    store = open_store(location.uri)
    with pytest.raises(StoreError, match="vectors of space theirs were imported"):
        store.search("MKTAYIAKQR", space="theirs")
    other = open_location(tmp_path / "t")
    embed_here(other, esm2, {"p1": "MKTAYIAKQR"}, "old.fasta", pooling=["none"])
    with pytest.raises(ConfigError, match="has no poolings: it keeps matrices of residues alone"):
        open_store(other.uri).search("MKTAYIAKQR")


def test_structure_letters_are_not_compared_with_amino_acids(tmp_path: Path) -> None:
    location = open_location(tmp_path / "s")
    model = checkpoints.build("prostt5", tmp_path / "prostt5", layers=2, hidden=32)
    embed_here(location, model, {"p1": "dpvvlvvqvvvllvvlvvvvpd"}, "old#1,alphabet=3di", alphabet="3di")
    store = open_store(location.uri)
    with pytest.raises(InputError, match=r"is of structure letters \(3Di\), and these look like amino acids"):
        store.search("MKTAYIAKQRQISFVKSHFSRQ")
    for letters in ("DPVVLVVQVVVLLVVLVVVVPDDD", "acdef"):
        assert store.search(letters)["id"].to_pylist() == ["p1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--nearest", "old1", "--sequence", "MKT"], "give one of --id, --nearest, or --sequence and --fasta"),
        (["--id", "old1", "--device", "cpu"], "--model and --device are of --sequence and --fasta"),
        (["--sequence", "MKT", "--pooling", "max"], "has no pooling 'max'; it has mean"),
        (["--sequence", "MKT", "--device", "cuda"], "no CUDA device"),
    ],
)
def test_options_that_do_not_go_together(store: Store, options: list[str], said: str) -> None:
    done = commands.call("query", store.uri, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
