"""HDF5 files are found by biotrainer and ProtSpace as they look, whatever the ids are, and come back exactly.

`biotrainer_reads` and `protspace_reads` are written after biotrainer 1.4.0 (biotrainer/embedders/services/
embedding_service.py, `load_embeddings`; biotrainer/input_files/fasta.py, `read_FASTA`; biotrainer/utilities/hashing.py)
and ProtSpace 4.8.2 (protspace/data/loaders/h5.py, `load_h5`). tests/tools/test_interop_check.py runs the programs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import lance
import numpy as np
import pytest

from protea_ray.exchange.formats import open_source
from protea_ray.exchange.imported_space import ImportOptions
from protea_ray.exchange.importing import Imported, import_vectors
from protea_ray.query.reader import Store, open_store
from protea_ray.store.location import Location
from protea_ray.store.spaces import ensure_space
from tests.store import build

h5py = pytest.importorskip("h5py", reason="h5py is not installed")

# the accession of the first is the id of the second; the third and fourth are one name where / is replaced
IDS = ["sp|P12345|A_B", "P12345", "a/b", "a_b", ".", "./x", "two words", "x" * 1000, "\u00e4|\u00f6", "<b>&\"'"]
TWICE = "same"  # one id of two sequences
COPY = "copy"  # another id of the letters of protein 0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twelve proteins, of which two share an id, and a thirteenth record with the letters of the first."""
    location = build.store(tmp_path_factory.mktemp("layouts") / "s", range(0))
    build.ingest(location, build.proteins([*range(12), 0], "b", [*IDS, TWICE, TWICE, COPY]), "b", "d2")
    of = build.schema(build.WIDTH, "float16")
    ensure_space(location, build.info("half"), of)
    build.fill(location, "half", range(12), "u", of, with_residues=True)
    return open_store(location.uri)


OWNERS = [*enumerate([*IDS, TWICE, TWICE]), (0, COPY)]


def half(number: int) -> np.ndarray:
    return build.vector(number).astype(np.float16)


def biotrainer_reads(vectors: Path, fasta: Path) -> dict[str, np.ndarray]:
    """The array of each record of a FASTA file, by its letters; of letters on several lines it knows the last."""
    letters: list[str] = []
    for line in fasta.read_text().splitlines():
        if line.startswith(">"):
            letters.append("")
        else:
            letters[-1] = line
    with h5py.File(vectors) as file:
        names = {one: hashlib.sha256(f"{one}_{len(one)}".encode()).hexdigest() for one in letters}
        return {one: file[name][:] for one, name in names.items()}


def protspace_reads(vectors: Path) -> dict[str, np.ndarray]:
    """Every vector by the name of its data set, groups looked into one level deep."""
    found: dict[str, np.ndarray] = {}
    with h5py.File(vectors) as file:
        assert file.attrs["model_name"]
        for name, member in file.items():
            for key, data in member.items() if isinstance(member, h5py.Group) else [(name, member)]:
                assert key not in found
                found[key] = np.array(data)
    assert {array.ndim for array in found.values()} == {1}
    return found


def test_biotrainer_finds_every_protein_of_the_fasta_file_by_its_letters(store: Store, tmp_path: Path) -> None:
    done = store.export(tmp_path / "v.h5", space="half")
    store.export(tmp_path / "v.fasta", space="half")
    found = biotrainer_reads(tmp_path / "v.h5", tmp_path / "v.fasta")
    assert done.rows == 13
    assert {letters: array.tolist() for letters, array in found.items()} == {
        build.sequence(n): half(n).tolist() for n in range(12)
    }
    (note,) = done.notes
    assert note.startswith("1 rows have the letters of another one ('copy' is named")


def test_biotrainer_finds_residues(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.h5", space="half", pooling="none")
    store.export(tmp_path / "v.fasta", space="half")
    found = biotrainer_reads(tmp_path / "v.h5", tmp_path / "v.fasta")
    for n in range(12):
        assert np.array_equal(found[build.sequence(n)], build.residues(n).astype(np.float16))


def test_protspace_shows_accessions_and_every_protein_once(store: Store, tmp_path: Path) -> None:
    done = store.export(tmp_path / "v.protspace.h5", space="half")
    found = protspace_reads(tmp_path / "v.protspace.h5")
    assert done.rows == len(found) == 13
    assert np.array_equal(found["P12345"], half(0))
    assert np.array_equal(found["P12345-2"], half(1))
    assert np.array_equal(found["a_b"], half(2))
    assert np.array_equal(found["a_b-2"], half(3))
    assert Counter(array.tobytes() for array in found.values()) == Counter(half(n).tobytes() for n, _ in OWNERS)
    (note,) = done.notes
    assert note.startswith("6 rows have another name")
    assert "'P12345' is named 'P12345-2', 'a/b' is named 'a_b'" in note


def test_the_attribute_holds_the_id_as_it_is_stored(store: Store, tmp_path: Path) -> None:
    for name in ("v.h5", "v.protspace.h5"):
        store.export(tmp_path / name, space="half")
        with h5py.File(tmp_path / name) as file:
            held = Counter((data.attrs["original_id"], data[:].tobytes()) for data in file.values())
        assert held == Counter((id, half(n).tobytes()) for n, id in OWNERS)


def taken(location: Location, path: Path, run: str) -> Imported:
    return import_vectors(open_source(path), location, ImportOptions(f"again/{run}"), run, build.writer())


@pytest.mark.parametrize("name", ["v.h5", "v.protspace.h5"])
def test_what_was_exported_comes_back_exactly_also_for_an_id_of_two_sequences(
    store: Store, tmp_path: Path, name: str
) -> None:
    store.export(tmp_path / name, space="half")
    done = taken(store.location, tmp_path / name, name)
    assert (done.read, done.stored, done.duplicate, done.unmatched, done.ambiguous) == (13, 12, 1, 0, 0)
    spaces = (lance.dataset(store.location.table(space)).to_table() for space in ("half", done.space))
    before, after = (dict(zip(t["key"].to_pylist(), t["mean"].to_pylist(), strict=True)) for t in spaces)
    assert before == after
    assert len(before) == 12


def test_residues_come_back_exactly(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.h5", space="half", pooling="none")
    done = taken(store.location, tmp_path / "v.h5", "residues")
    assert done.stored == 12
    again = open_store(store.uri)
    for n, id in enumerate(IDS):
        assert np.array_equal(again.residues(id, space=done.space)[:], build.residues(n).astype(np.float16))


def test_the_same_id_with_other_letters_does_not_take_the_vector(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "v.h5", space="half", ids=["a/b", "a_b"])
    other = build.store(tmp_path / "other", range(0))
    build.ingest(other, build.proteins([2, 30], "b", ["renamed", "a_b"]), "b", "d2")
    done = taken(other, tmp_path / "v.h5", "r2")
    assert (done.stored, done.unmatched, done.unmatched_names) == (1, 1, ["a_b"])
    assert open_store(other.uri).get("renamed", space=done.space).num_rows == 1
