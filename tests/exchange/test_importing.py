"""Existing vectors become a space: the right vector at the right protein, and every item accounted for."""

from __future__ import annotations

import pickle  # noqa: TID251 - to make a file that must be refused
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import protea_ray
from protea_ray.errors import ConfigError, InputError, LeaseHeldError
from protea_ray.exchange.formats import open_source
from protea_ray.exchange.imported_space import ImportOptions
from protea_ray.exchange.importing import Imported, import_vectors
from protea_ray.query.reader import Store, open_store
from protea_ray.store.lease import Lease
from protea_ray.store.location import open_location
from tests import commands
from tests.exchange import files
from tests.store import build

WIDTH = 8
BY_SEQUENCE = {build.sequence(n): build.vector(n) for n in range(12)}
BY_ID = {f"P{n:05d}": build.vector(n) for n in range(12)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten proteins without a vector."""
    location = open_location(tmp_path / "s")
    build.ingest(location, build.proteins(range(10)))
    return open_store(location.uri)


def take(store: Store, path: Path, run: str = "r1", **options: Any) -> Imported:
    return import_vectors(
        open_source(path, options.get("dataset")),
        store.location,
        ImportOptions("lab/model", **options),
        run,
        build.writer(),
    )


def held(store: Store, space: str, column: str = "mean") -> dict[int, np.ndarray]:
    rows = store.to_arrow(space=space, columns=["id", column])
    return {int(r["id"][1:]): np.array(r[column], np.float32) for r in rows.to_pylist()}


FILES: dict[str, tuple[str, Callable[[Path], Path], float]] = {
    "pth": ("fastesm-pth", lambda at: files.pth(at / "v.pth", BY_SEQUENCE), 1e-3),
    "pth bfloat16": ("fastesm-pth", lambda at: files.pth(at / "v.pth", BY_SEQUENCE, torch.bfloat16), 1e-2),
    "sqlite": ("fastesm-sqlite", lambda at: files.sqlite(at / "v.db", BY_SEQUENCE), 1e-3),
    "sqlite of raw floats": ("fastesm-sqlite", lambda at: files.sqlite(at / "v.db", BY_SEQUENCE, np.ndarray.tobytes),
                             1e-3),
    "sqlite of saved tensors": ("fastesm-sqlite", lambda at: files.sqlite(at / "v.db", BY_SEQUENCE, files.saved), 1e-3),
    "sqlite described": ("fastesm-sqlite", lambda at: files.sqlite_described(at / "v.db", BY_SEQUENCE), 1e-3),
    "sqlite runs": ("fastesm-sqlite", lambda at: files.sqlite_runs(
        at / "v.db", {"old": {k: v * 0 for k, v in BY_SEQUENCE.items()}, "new": BY_SEQUENCE}), 1e-2),
    "fair-esm": ("fair-esm", lambda at: files.esm(at / "esm", BY_ID), 1e-3),
    "biotrainer": ("biotrainer-h5", lambda at: files.hdf5(at / "v.h5", BY_ID), 1e-3),
    "biotrainer by id": ("biotrainer-h5", lambda at: files.hdf5(at / "v.h5", BY_ID, by_hash=False), 1e-3),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_vectors_of_every_format_reach_their_proteins(store: Store, tmp_path: Path, kind: str) -> None:
    if "biotrainer" in kind:
        pytest.importorskip("h5py", reason="h5py is not installed")
    format, make, close = FILES[kind]
    done = take(store, make(tmp_path))
    assert (done.format, done.read, done.stored, done.unmatched) == (format, 12, 10, 2)
    found = held(store, done.space)
    assert sorted(found) == list(range(10))
    assert all(np.allclose(v, build.vector(n), atol=close) for n, v in found.items())
    info = store.view(done.space).info
    assert info.imported
    assert info.model == "lab/model"
    (said,) = [s for s in store.status().spaces if s.name == done.space]
    assert (said.keys, said.imported, said.widths["mean"]) == (10, True, WIDTH)
    last = store.status().last_run
    assert last is not None
    assert (last["kind"], last["summary"]["stored"]) == ("import", 10)


def test_importing_again_adds_only_what_is_new(store: Store, tmp_path: Path) -> None:
    path = files.pth(tmp_path / "v.pth", BY_SEQUENCE)
    first = take(store, path)
    version = store.pin(first.space).version
    again = take(store, path, "r2")
    assert (again.space, again.stored, again.already_present, again.unmatched) == (first.space, 0, 10, 2)
    assert store.pin(first.space).version == version
    build.ingest(store.location, build.proteins([10, 11], "b"), "b", "d2")
    more = take(store, path, "r3")
    assert (more.stored, more.already_present, more.unmatched) == (2, 10, 0)
    assert np.allclose(held(store, first.space)[11], build.vector(11), atol=1e-3)


def test_another_recipe_is_another_space(store: Store, tmp_path: Path) -> None:
    path = files.pth(tmp_path / "v.pth", BY_SEQUENCE)
    spaces = {take(store, path).space, take(store, path, pooling="cls").space,
              take(store, path, store_dtype="float32").space}  # fmt: skip
    assert len(spaces) == 3


def test_matrices_keep_their_rows_and_lose_the_end_tokens(store: Store, tmp_path: Path) -> None:
    ends = np.full((1, WIDTH), 9.0, np.float32)
    whole = {build.sequence(n): np.concatenate([ends, build.residues(n), ends]) for n in range(5)}
    whole |= {build.sequence(n): build.residues(n) for n in range(5, 8)}
    whole[build.sequence(8)] = build.residues(8)[:-3]
    done = take(store, files.pth(tmp_path / "v.pth", whole))
    assert (done.stored, done.rejected) == (8, {"length": 1})
    for number in range(8):
        matrix = np.asarray(store.residues(f"P{number:05d}", space=done.space))
        assert np.allclose(matrix, build.residues(number), atol=1e-2)


def test_a_protein_that_fair_esm_cut_says_so(store: Store, tmp_path: Path) -> None:
    limit = 20
    residues = {id: build.residues(n)[:limit].copy() for n, id in enumerate(BY_ID)}
    done = take(store, files.esm(tmp_path / "esm", BY_ID, residues))
    assert done.stored == 10
    rows = store.to_arrow(space=done.space, columns=["id", "n_residues", "n_residues_seen", "truncated", "cls"])
    for row in rows.to_pylist():
        length = len(build.sequence(int(row["id"][1:])))
        assert (row["n_residues"], row["n_residues_seen"]) == (length, min(length, limit))
        assert row["truncated"] == (length > limit)
        assert np.allclose(row["cls"], -build.vector(int(row["id"][1:])), atol=1e-3)


def test_one_of_several_layers(store: Store, tmp_path: Path) -> None:
    folder = files.esm(tmp_path / "esm", BY_ID, layers=(11, 22, 33))
    with pytest.raises(ConfigError, match=r"holds the layers 11, 22, 33; name one of them with --layer"):
        take(store, folder)
    done = take(store, folder, layer=11)
    assert np.allclose(held(store, done.space)[4], build.vector(4) / 3, atol=1e-3)


def test_bad_items_are_counted_by_reason_and_the_rest_is_stored(store: Store, tmp_path: Path) -> None:
    mixed: dict[str, Any] = {k: torch.from_numpy(v.copy()) for k, v in BY_SEQUENCE.items()}
    mixed[build.sequence(1)] = torch.full((WIDTH,), float("nan"))
    mixed[build.sequence(2)] = torch.full((WIDTH,), 1e6)  # more than float16 holds
    mixed[build.sequence(3)] = torch.zeros(WIDTH + 1)
    mixed[build.sequence(4)] = torch.arange(WIDTH)
    mixed[build.sequence(5).lower() + "*"] = mixed[build.sequence(5)]  # the same letters in another spelling
    mixed["not a sequence!"] = torch.zeros(WIDTH)
    torch.save(mixed, tmp_path / "v.pth")
    done = take(store, tmp_path / "v.pth")
    assert done.rejected == {"non_finite": 2, "shape": 1, "unreadable": 1}
    assert (done.read, done.stored, done.duplicate, done.unmatched) == (14, 6, 1, 3)
    assert "not a sequence!" in done.unmatched_names


def test_an_id_of_several_sequences_is_counted_apart_and_letters_tell_them_apart(store: Store, tmp_path: Path) -> None:
    build.ingest(store.location, build.proteins([20], "b", ids=["P00003"]), "b", "d2")
    done = take(store, files.esm(tmp_path / "esm", {f"P{n:05d}": build.vector(n) for n in (2, 3, 4)}))
    assert (done.stored, done.unmatched, done.ambiguous) == (2, 0, 1)
    assert done.ambiguous_names == ["P00003 some protein"]
    done = take(store, files.pth(tmp_path / "v.pth", {build.sequence(n): build.vector(n) for n in (3, 20)}))
    assert (done.stored, done.ambiguous) == (2, 0)


def test_hostile_ids_are_data(store: Store, tmp_path: Path) -> None:
    names = ["' OR 1=1 --", "x') OR ('a'='a", "P00001\0"]
    vectors = {build.sequence(50 + n): build.vector(n) for n, _ in enumerate(names)}
    path = files.sqlite(tmp_path / "v.db", vectors)
    with closing(sqlite3.connect(path)) as file, file:
        for name, sequence in zip(names, vectors, strict=True):
            file.execute("UPDATE embeddings SET sequence = ? WHERE sequence = ?", (name, sequence))
    with pytest.raises(InputError, match="3 of no protein"):
        take(store, path)
    with closing(sqlite3.connect(path)) as file, file:
        good = (build.sequence(1), files.compact(build.vector(1)))
        file.execute("INSERT INTO embeddings VALUES (?, ?)", good)
    assert (take(store, path).stored, take(store, path).unmatched) == (1, 3)


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_that_is_more_than_tensors_is_refused_and_not_run(store: Store, tmp_path: Path) -> None:
    exploded = tmp_path / "exploded"
    torch.save({"ACD": Bomb(exploded)}, tmp_path / "v.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"ACD": Bomb(exploded)}, protocol=2))
    blob = (tmp_path / "v.pth").read_bytes()
    path = files.sqlite(tmp_path / "v.db", {build.sequence(1): build.vector(1)}, lambda _: blob)
    for file in (tmp_path / "v.pth", tmp_path / "old.pth", path):
        with pytest.raises(InputError, match="not a plain file of tensors"):
            take(store, file)
    assert not exploded.exists()


def test_what_is_no_file_of_vectors_is_said(store: Store, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(">a\nACD\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "run-0.safetensors").touch()
    torch.save([1, 2], tmp_path / "list.pth")
    with closing(sqlite3.connect(tmp_path / "other.db")) as file, file:
        file.execute("CREATE TABLE mail (subject TEXT)")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 40)
    for name, message in (
        ("nothing", "cannot be read"),
        ("text", "is not a file of vectors"),
        ("empty", "no .pt file$"),
        ("shards", "those of format='sqlite' are read"),
        ("list.pth", "no mapping"),
        ("other.db", "holds the tables mail"),
        ("cut.h5", "as HDF5"),
    ):
        with pytest.raises(InputError, match=message):
            take(store, tmp_path / name)
    with pytest.raises(ConfigError, match="3 problem"):
        ImportOptions(" ", pooling="unit", store_dtype="int8")
    assert not [s for s in store.status().spaces if s.imported]


def test_what_was_exported_comes_back(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="h5py is not installed")
    from protea_ray.query.export import export

    first = take(store, files.pth(tmp_path / "v.pth", BY_SEQUENCE))
    export(store, tmp_path / "out.h5", space=first.space)
    second = take(store, tmp_path / "out.h5", "r2")
    assert second.stored == 10
    assert all(np.array_equal(v, held(store, second.space)[n]) for n, v in held(store, first.space).items())


@pytest.mark.parametrize("quiet", [False, True])
def test_the_public_function_says_how_far_it_is_unless_it_is_to_be_quiet(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str], quiet: bool
) -> None:
    path = files.pth(tmp_path / "v.pth", BY_SEQUENCE)
    done = protea_ray.import_vectors(path, store.uri, model="lab/model", quiet=quiet)
    assert done.stored == 10
    said = capfd.readouterr().err
    assert (f"importing {path} ..." in said) is not quiet


@pytest.mark.slow
def test_the_command_ingests_imports_and_respects_the_lease(store: Store, tmp_path: Path) -> None:
    path = files.esm(tmp_path / "esm", BY_ID)
    fasta = tmp_path / "more.fasta"
    fasta.write_text(f">P00010 x\n{build.sequence(10)}\n")
    left = tmp_path / "left.txt"
    said = commands.run_json("import", path, store.uri, "--model", "esm/esm2", "--fasta", fasta, "--unmatched", left)
    assert (said["stored"], said["unmatched"]) == (11, 1)
    assert left.read_text() == "P00011 some protein\n"
    assert store.get("P00010", space=said["space"]).num_rows == 1
    with Lease.acquire(store.location), pytest.raises(LeaseHeldError):
        Lease.acquire(store.location)
    with Lease.acquire(store.location):
        done = commands.run("import", path, store.uri, "--model", "esm/esm2")
    assert done.returncode == 1
    assert "another driver is writing" in done.stderr
