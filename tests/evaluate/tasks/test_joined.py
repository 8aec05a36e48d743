"""Labels joined to a store: what is missing, what stands there twice, and which of several sequences counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.errors import InputError
from protea_ray.evaluate.tasks import read_task
from tests.evaluate.tasks.made import N, add_proteins, classes, id_of, reopened, view_of, write_rows
from tests.store import build


def test_proteins_that_the_store_lacks_are_said_with_the_command(tmp_path: Path) -> None:
    view = view_of(tmp_path, range(20))
    task = read_task(str(write_rows(tmp_path / "t.csv", classes())), None, view)
    assert len(task) == 20
    (note,) = [note for note in task.notes if "not in the store" in note]
    assert note.startswith("10 of 30 labelled proteins are not in the store (P00020, P00021, P00022, ...). ")
    assert f"protea-ray embed FASTA {view.location.uri}" in note
    with pytest.raises(InputError, match=r"none of 5 proteins is in the store.*look like 'P00025'.*protea-ray embed"):
        read_task(str(write_rows(tmp_path / "u.csv", classes(range(25, 30)))), None, view)


def test_a_store_without_tested_or_without_training_proteins(tmp_path: Path) -> None:
    path = str(write_rows(tmp_path / "t.csv", classes()))
    tested = [n for n in range(N) if n % 3 == 0]
    with pytest.raises(InputError, match=r"none of the train proteins is left .*protea-ray embed"):
        read_task(path, None, view_of(tmp_path / "a", tested))
    with pytest.raises(InputError, match=r"none of the test proteins is left .*protea-ray embed"):
        read_task(path, None, view_of(tmp_path / "b", sorted(set(range(N)) - set(tested))))


def test_proteins_without_a_vector_are_left_out_and_counted(tmp_path: Path) -> None:
    view = view_of(tmp_path)
    lost = {build.key(4), build.key(9)}
    asked: list[int] = []

    def without(keys: pa.Array) -> np.ndarray:
        asked.append(len(keys))
        return np.array([key in lost for key in keys.to_pylist()])

    task = read_task(str(write_rows(tmp_path / "t.csv", classes())), None, view, without)
    assert asked == [N]
    assert set(task.ids) == {id_of(n) for n in range(N)} - {"P00004", "P00009"}
    (note,) = [note for note in task.notes if "no vector" in note]
    assert note.startswith("2 proteins have no vector in one of the inputs")
    with pytest.raises(InputError, match="none of the train and test proteins is left"):
        read_task(str(tmp_path / "t.csv"), None, view, lambda keys: np.ones(len(keys), bool))


def test_ids_of_one_sequence_merge_where_their_labels_agree(tmp_path: Path) -> None:
    """P00001 and B1 agree; P00002 and B2 have other labels, P00004 and B4 other splits."""
    view = view_of(tmp_path)
    add_proteins(view.location, [(f"B{n}", build.sequence(n)) for n in (1, 2, 4)], "b.fasta#1")
    rows = [*classes(), ("B1", "b", "train"), ("B2", "z", "train"), ("B4", "a", "test")]
    task = read_task(str(write_rows(tmp_path / "t.csv", rows)), None, reopened(view.location))
    assert set(task.ids) == {id_of(n) for n in range(N)} - {"P00001", "P00002", "P00004"} | {"B1"}
    assert task.names == ("a", "b")
    assert "1 sequences stand under several ids with the same label and count once (B1 = P00001)" in task.notes
    (note,) = [note for note in task.notes if "different labels or splits" in note]
    assert note.startswith("2 sequences")
    assert "B2 = P00002" in note
    assert "B4 = P00004" in note


def test_accessions_find_whole_headers_and_an_ambiguous_one_is_left_out(tmp_path: Path) -> None:
    view = view_of(tmp_path)
    headers = [
        ("sp|Q12345|A_B", "MKVLAAGIVGLCAKRW"),
        ("sp|Q54321|C_D", "MPPPWWWHHHKKKRRR"),
        ("tr|Q54321|C_D", "MGGGGGTTTTSSSS"),
    ]
    add_proteins(view.location, headers, "b.fasta#1")
    rows = [*classes(), ("Q12345", "b", "train"), ("Q54321", "b", "train")]
    task = read_task(str(write_rows(tmp_path / "t.csv", rows)), None, reopened(view.location))
    assert set(task.ids) == {id_of(n) for n in range(N)} | {"Q12345"}
    assert "MKVLAAGIVGLCAKRW" in task.sequences
    assert any("matched by accession (Q12345 is sp|Q12345|A_B)" in note for note in task.notes)
    (note,) = [note for note in task.notes if "several proteins of the store" in note]
    assert note.startswith("1 ids stand for")
    assert "sp|Q54321|C_D" in note


def test_of_an_id_with_several_sequences_that_counts_which_the_file_gives(tmp_path: Path) -> None:
    """Z1 has two, neither with a vector; the file gives the older one. P00005 has others in the file."""
    view = view_of(tmp_path)
    older, newer = "MKVLAAGIVGLC", "MKVLAAGIVGLCWW"
    add_proteins(view.location, [("Z1", older)], "b.fasta#1")
    add_proteins(view.location, [("Z1", newer)], "c.fasta#1")
    grown = reopened(view.location)
    records = [(id, target, split, build.sequence(int(id[1:]))) for id, target, split in classes()]
    for name, of_fifth, kept in (("t", build.sequence(5), N), ("o", "MWWWWWWWWWWW", N - 1)):
        records[5] = (*records[5][:3], of_fifth)
        lines = [f">{id} TARGET={target} SET={split}\n{s}\n" for id, target, split, s in records]
        (tmp_path / f"{name}.fasta").write_text("".join([*lines, f">Z1 TARGET=a SET=train\n{older}\n"]))
        task = read_task(str(tmp_path / f"{name}.fasta"), None, grown)
        found = dict(zip(task.ids, task.sequences, strict=True))
        assert found.pop("Z1") == older
        assert found == {id_of(n): build.sequence(n) for n in range(N) if kept == N or n != 5}
    assert "1 proteins have other letters in the store than in the file (P00005) and are left out" in task.notes


def test_of_an_id_with_several_sequences_the_newest_counts_where_the_file_has_none(tmp_path: Path) -> None:
    """Neither sequence of Z1 has a vector, so that age decides; of P00001 the older one has."""
    view = view_of(tmp_path)
    add_proteins(view.location, [("Z1", "MKVLAAGIVGLC")], "b.fasta#1")
    add_proteins(view.location, [("Z1", "MKVLAAGIVGLCWW"), ("P00001", "MPPPPPPPPP")], "c.fasta#1")
    path = write_rows(tmp_path / "t.csv", [*classes(), ("Z1", "a", "train")])
    task = read_task(str(path), None, reopened(view.location))
    found = dict(zip(task.ids, task.sequences, strict=True))
    assert found["Z1"] == "MKVLAAGIVGLCWW"
    assert found["P00001"] == build.sequence(1)
