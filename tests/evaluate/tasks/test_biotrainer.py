"""FASTA of biotrainer and FLIP: targets in headers, states beside sequences, masks, and every mistake by its line."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate.task import ALWAYS_TRAINS, CLASSIFICATION, RESIDUE, UNRESOLVED
from protea_ray.evaluate.tasks import read_labelled, read_task
from protea_ray.query.view import View
from tests.evaluate.tasks.made import N, id_of, view_of, write_rows
from tests.store import build


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    return view_of(tmp_path_factory.mktemp("biotrainer"))


def states(number: int) -> str:
    """H, E or C for each residue, by its letter."""
    return "".join("HEC"[ord(letter) % 3] for letter in build.sequence(number))


def mask(number: int) -> str:
    """The first residue does not count; of P00007 none does."""
    length = len(build.sequence(number))
    return "0" * length if number == 7 else "0" + "1" * (length - 1)


def header(number: int) -> str:
    return f"SET={'test' if number % 3 == 0 else 'train'} VALIDATION={number % 7 == 0 and number % 3 != 0}"


def flip(folder: Path, numbers: Iterable[int] = range(N), ending: str = ".fasta") -> Path:
    """The three files of a split of FLIP; returns that of the labels. Texts are broken into lines of 20."""
    folder.mkdir(exist_ok=True)
    texts = {"sequences": build.sequence, "sampled": states, "mask": mask}
    for stem, text in texts.items():
        records = []
        for n in numbers:
            lines = [text(n)[at : at + 20] for at in range(0, len(text(n)), 20)]
            records.append("\n".join([f">{id_of(n)} {header(n)}" if stem == "sampled" else f">{id_of(n)}", *lines]))
        data = ("\n".join(records) + "\n").encode()
        (folder / f"{stem}{ending}").write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    return folder / f"sampled{ending}"


@pytest.mark.parametrize("ending", [".fasta", ".fasta.gz"])
def test_states_of_residues_with_their_mask(ending: str, view: View, tmp_path: Path) -> None:
    task = read_task(str(flip(tmp_path / "f", ending=ending)), None, view)
    order = [n for n in sorted(range(N), key=build.key) if n != 7]
    assert task.ids == tuple(id_of(n) for n in order)
    assert (task.kind, task.names) == (RESIDUE, ("C", "E", "H"))
    assert task.targets.dtype == np.int8
    pairs = [pair for n in order for pair in zip(states(n), mask(n), strict=True)]
    assert task.targets.tolist() == ["CEH".index(state) if kept == "1" else UNRESOLVED for state, kept in pairs]
    assert task.fold.tolist() == [0 if n % 3 == 0 else ALWAYS_TRAINS for n in order]
    assert task.validation is not None
    assert task.validation.tolist() == [n % 3 != 0 and n % 7 == 0 for n in order]
    assert "1 proteins have no residue with a state and are left out (P00007)" in task.notes


def test_one_file_with_targets_and_masks_in_its_headers_is_the_same_task(view: View, tmp_path: Path) -> None:
    expected = read_task(str(flip(tmp_path / "f")), None, view).digest
    merged = "".join(
        f">{id_of(n)} TARGET={states(n)} SET={'val' if 'True' in header(n) else header(n).split()[0][4:]} "
        f"MASK={mask(n)}\n{build.sequence(n)}\n"
        for n in reversed(range(N))
    )
    (tmp_path / "merged.fasta").write_text(merged)
    found = read_labelled(str(tmp_path / "merged.fasta"), None)
    assert any("The kind, residue, was inferred" in note for note in found.notes)
    assert read_task(str(tmp_path / "merged.fasta"), None, view).digest == expected
    write_rows(tmp_path / "t.csv", [(id_of(n), states(n), "train" if n % 3 else "test") for n in range(N)])
    unmasked = read_task(f"{tmp_path / 't.csv'}:residue", None, view)
    assert len(unmasked) == N
    assert (unmasked.targets != UNRESOLVED).all()


def test_targets_in_headers_of_proteins(view: View, tmp_path: Path) -> None:
    lines = [f">{id_of(n)} SET=train VALIDATION=True TARGET=Glob\n{build.sequence(n)}" for n in range(5)]
    lines += [f">{id_of(n)} SET=train TARGET=TM\n{build.sequence(n)}" for n in range(5, 10)]
    lines += [f">{id_of(n)} SET=test TARGET={'Glob' if n % 2 else 'TM'}\n{build.sequence(n)}" for n in range(10, 15)]
    lines += [f">{id_of(15)} SET=pred\n{build.sequence(15)}"]
    (tmp_path / "t.fasta").write_text("\n".join(lines))
    task = read_task(str(tmp_path / "t.fasta"), None, view)
    by_id = dict(zip(task.ids, zip(task.targets, task.fold, task.validation, strict=True), strict=True))  # type: ignore[arg-type]
    assert (task.kind, task.names) == (CLASSIFICATION, ("Glob", "TM"))
    assert by_id == {
        id_of(n): (0, ALWAYS_TRAINS, True) if n < 5 else (1, ALWAYS_TRAINS, False) if n < 10 else (1 - n % 2, 0, False)
        for n in range(15)
    }
    assert "1 records with SET=pred have no target and are left out (P00015)" in task.notes


def test_every_mistake_of_headers_is_in_one_message(tmp_path: Path) -> None:
    text = (
        ">a TARGET=1.5 SET=train\nMKV\n"
        ">b TARGET=x SET=train\nMKV\n"
        ">c TARGET=2.5 SET=test2\nMKV\n"
        ">d TARGET=2.5 SET=train VALIDATION=perhaps\nMKV\n"
        ">e TARGET=2.5 SET=train\nMK-V\n"
        ">f TARGET=2.5 SET=train INTERACTOR=a\nMKV\n"
        ">g TARGET=2.5\nMKV\n"
        ">a TARGET=1.7 SET=train\nMKV\n"
    )
    (tmp_path / "t.fasta").write_text(text)
    with pytest.raises(InputError) as caught:
        read_labelled(f"{tmp_path / 't.fasta'}:regression", None)
    said = str(caught.value)
    assert len(caught.value.problems) == 7
    for line, words in (
        (3, "'b': the target 'x' is not a finite number"),
        (5, "'c': the split 'test2' is none of"),
        (7, "'d': VALIDATION=perhaps is neither"),
        (9, "'e': letter '-', residue 3"),
        (11, "'f': INTERACTOR"),
        (13, "'g': no split"),
        (15, "'a' stands in line 1 with another label"),
    ):
        assert f"t.fasta:{line}: {words}" in said


def test_states_that_do_not_fit_are_named_with_their_lines(view: View, tmp_path: Path) -> None:
    labels = flip(tmp_path / "f")
    folder = labels.parent
    broken = labels.read_text().replace(f">{id_of(2)} {header(2)}\n", f">{id_of(2)} {header(2)}\nHH")
    labels.write_text(broken)
    masks = (folder / "mask.fasta").read_text().replace(f">{id_of(4)}\n0", f">{id_of(4)}\n")
    masks = masks.replace(f">{id_of(5)}\n0", f">{id_of(5)}\nx")
    (folder / "mask.fasta").write_text(masks.replace(f">{id_of(6)}\n", ">other\n"))
    letters = (folder / "sequences.fasta").read_text()
    (folder / "sequences.fasta").write_text(letters.replace(f">{id_of(8)}\n", f">{id_of(1)}\n"))
    with pytest.raises(InputError) as caught:
        read_labelled(str(labels), None)
    said = str(caught.value)
    length = {n: len(build.sequence(n)) for n in range(N)}
    for words in (
        f"'P00002': {length[2] + 2} states of {length[2]} residues",
        f"'P00004': {length[4]} states, and {length[4] - 1} digits in the mask",
        "'P00005': the mask holds 'x'",
        "'P00006' is not in the mask beside it",
        "'P00008' is not in the sequences beside it",
        f"'P00001' stands in line {letters.splitlines().index('>P00001') + 1} too",
    ):
        assert words in said, words
    with pytest.raises(ConfigError, match="has states of residues; its kind is residue and not regression"):
        read_labelled(f"{labels}:regression", None)


def test_states_without_sequences_beside_must_fit_the_stored_residues(view: View, tmp_path: Path) -> None:
    labels = flip(tmp_path / "f")
    (labels.parent / "sequences.fasta").unlink()
    (labels.parent / "mask.fasta").unlink()
    assert len(read_task(str(labels), None, view)) == N
    labels.write_text(labels.read_text().replace(f">{id_of(2)} {header(2)}\n", f">{id_of(2)} {header(2)}\nHH"))
    length = len(build.sequence(2))
    with pytest.raises(InputError, match=f"'P00002': {length + 2} states, .* has {length} residues"):
        read_task(str(labels), None, view)


def test_a_file_of_sequences_is_no_file_of_states(view: View, tmp_path: Path) -> None:
    (tmp_path / "s.fasta").write_text("".join(f">{id_of(n)} {header(n)}\n{build.sequence(n)}\n" for n in range(N)))
    with pytest.raises(InputError, match="holds the letters of the proteins and no labels"):
        read_task(str(tmp_path / "s.fasta"), None, view)
    (tmp_path / "z.fasta").write_text(">a TARGET=HEC MASK=000 SET=train\nMKV\n>b TARGET=HEC MASK=000 SET=test\nMKL\n")
    with pytest.raises(InputError, match="no residue has a state"):
        read_labelled(str(tmp_path / "z.fasta"), None)
    many = "".join(chr(ord("A") + n) + chr(ord("a") + n) for n in range(20))
    (tmp_path / "o.fasta").write_text(f">a SET=train\n{many}\n>b SET=test\n{many}\n")
    with pytest.raises(InputError, match="40 different states of residues"):
        read_labelled(str(tmp_path / "o.fasta"), None)
