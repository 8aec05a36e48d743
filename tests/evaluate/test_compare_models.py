"""`python -m jobs.compare_models` on a tiny data set: vectors, residues with their states, one report."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="the extra `train` is not installed")

from jobs import compare_models
from protea_ray.encoder.in_memory import embed_dataset
from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate import frozen
from protea_ray.evaluate.composition import AMINO_ACIDS, composition
from protea_ray.evaluate.frozen import protein_vectors, read_proteins, residue_vectors
from protea_ray.evaluate.questions import of_chains, of_task
from protea_ray.evaluate.secondary_structure import STATES, letter_features, read_chains, window_features
from protea_ray.sequences.synth import synthesise, write_fasta
from protea_ray.testing.random_checkpoint import build
from tests.shared_data import shared

PROTEINS = {p.id: p.sequence for p in synthesise(60, 4, families=6, max_length=60)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("esm2", tmp_path_factory.mktemp("tiny") / "esm2", layers=2, hidden=16, heads=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three folders, in the layout of the data set, with labels that the letters give."""
    root = tmp_path_factory.mktemp("data")
    local, terms, structure = (root / f"task_{n}" for n in ("localization", "go_long", "secondary_structure"))
    for folder in (local, terms, structure):
        folder.mkdir()
    write_fasta(local / "all.fasta", 60, 4, families=6, max_length=60)
    side = {id: "test" if n % 3 == 0 else "train" for n, id in enumerate(PROTEINS)}
    rows = [f"{id}\t{'Golgi' if 'W' in s else 'Nucleus'}\tM\t{side[id]}\n" for id, s in PROTEINS.items()]
    (local / "labels.tsv").write_text("id\tlabel\tmembrane\tsplit\n" + "".join(rows))
    with gzip.open(terms / "bp_ontology.tsv.gz", "wt") as file:
        file.write("go\tname\tparents\nGO:1\troot\t\nGO:2\ta\tGO:1\nGO:3\tb\tGO:2\n")
    rows = [f"{id}\t{'GO:3' if 'W' in s else 'GO:2'}\n" for id, s in PROTEINS.items()]
    (terms / "bp_go.tsv").write_text("accession\tGO\n" + "".join(rows))
    _write_chains(structure)
    return root


def _write_chains(folder: Path) -> None:
    """Helix where a residue is one of ACDEFG, strand where one of HIKLMN, else coil; the first is not resolved."""
    state = {letter: STATES[min(2, n // 6)] for n, letter in enumerate(AMINO_ACIDS)}
    files = {"sequences": "", "sampled": "", "mask": ""}
    for number, (id, letters) in enumerate(PROTEINS.items()):
        header = f">{id} SET={'test' if number < 10 else 'train'} VALIDATION={number > 50}\n"
        files["sequences"] += f">{id}\n{letters}\n"
        files["sampled"] += header + "".join(state[letter] for letter in letters) + "\n"
        files["mask"] += f">{id}\n0{'1' * (len(letters) - 1)}\n"
    for name, text in files.items():
        with gzip.open(folder / f"{name}.fasta.gz", "wt") as file:
            file.write(text)


def test_vectors_are_those_of_the_encoder_and_are_made_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = list(dict.fromkeys(PROTEINS.values()))[:5]
    found = protein_vectors(str(tiny), letters, (0, 1), tmp_path)
    states = residue_vectors(str(tiny), letters, (0, 1), tmp_path)
    for layer in (0, 1):
        expected = embed_dataset(letters, model=tiny, layers=(layer,))
        np.testing.assert_allclose(found[layer], np.stack(list(expected.values())), atol=1e-5)
        matrices = embed_dataset(letters, model=tiny, layers=(layer,), full_embeddings=True)
        np.testing.assert_allclose(states[layer], np.concatenate(list(matrices.values())), atol=2e-3, rtol=2e-3)
    assert not np.allclose(found[0], found[1], atol=0.1)

    monkeypatch.setattr(frozen, "encoder_here", None)  # whoever embeds again fails
    np.testing.assert_array_equal(protein_vectors(str(tiny), letters, (0, 1), tmp_path)[1], found[1])
    for changed in (letters[1:], [*letters[1:], letters[0]]):
        with pytest.raises(TypeError):
            protein_vectors(str(tiny), changed, (0, 1), tmp_path)


def test_neither_ray_nor_lance_is_needed_to_embed() -> None:
    code = "import jobs.compare_models, sys; print([m for m in ('ray', 'lance', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_records_that_are_no_proteins_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">good\nMKV\n>bad\nM1V\n")
    with pytest.raises(InputError, match="line 3"):
        read_proteins([tmp_path / "a.fasta"])


def test_chains_and_what_is_left_out(data: Path) -> None:
    chains = read_chains(data / "task_secondary_structure", train_chains=7)
    assert len(chains.sequences) == 17
    ends = np.cumsum([len(s) for s in chains.sequences])
    assert chains.train.tolist() == [True] * int(ends[6]) + [False] * int(ends[-1] - ends[6])
    assert (chains.state == -1).sum() == 17
    assert set(chains.sequences[7:]) == set(list(PROTEINS.values())[:10])
    everything = read_chains(data / "task_secondary_structure", train_chains=100)
    assert len(everything.sequences) == 51  # ten of the test, and the nine of validation are on neither side
    text = "".join(chains.sequences)
    for row in [*chains.rows(train=True)[:50], *chains.rows(train=False)[:50]]:
        assert chains.state[row] == min(2, AMINO_ACIDS.index(text[row]) // 6)
    question = of_chains(chains)
    assert (question.metric, question.outputs, question.hidden, question.batch_size) == ("accuracy", 3, 0, 64)
    assert len(question.train) + len(question.test) == len(text) - 17


def test_letters_as_features() -> None:
    sequences = ["ACXDE", "W"]
    letters, around = letter_features(sequences), window_features(sequences)
    assert (letters.shape, around.shape) == ((6, 40), (6, 300))
    assert letters[:, :20].sum(axis=1).tolist() == [1, 1, 0, 1, 1, 1]
    assert letters[5, AMINO_ACIDS.index("W")] == 1
    np.testing.assert_allclose(letters[[0, 4, 5], 20:], composition(sequences)[[0, 0, 1]], atol=1e-3)
    of_first = around[0].reshape(15, 20)
    assert of_first[:7].sum() == 0  # nothing before the first residue
    assert [int(np.argmax(row)) for row in of_first[[7, 8, 10, 11]]] == [AMINO_ACIDS.index(x) for x in "ACDE"]
    assert of_first[9].sum() == 0  # X


def test_targets_stand_at_the_rows_of_their_proteins(data: Path) -> None:
    letters = dict(reversed(PROTEINS.items()))
    question = of_task("localization", data / "task_localization", letters)
    names = list(letters)
    for row in (*question.train[:9], *question.test[:9]):
        assert question.targets[row] == ("W" not in letters[names[row]])
    assert {names[row] for row in question.test} == set(list(PROTEINS)[::3])
    go = of_task("go-bp", data / "task_go_long", letters)
    assert (go.kind, go.outputs, go.metric) == ("multilabel", 2, "fmax")
    assert go.ancestors is not None and go.ancestors.tolist() == [[True, False], [True, True]]
    short = {id: s for id, s in letters.items() if id != names[0]}
    with pytest.raises(InputError, match=rf"1 proteins have labels and no letters, for example {names[0]}"):
        of_task("localization", data / "task_localization", short)


def test_the_job(tiny: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    families = data / "task_localization" / "all.fasta"
    options = ["--data", str(data), "--out", str(tmp_path), "--families", str(families), "--chains", "20",
               "--seeds", "2", "--tasks", "localization,go-bp,secondary-structure"]  # fmt: skip
    compare_models.run([f"one={tiny}", f"two={tiny}", *options])
    report = json.loads((tmp_path / "signal.json").read_text())
    assert set(report["tasks"]) == {"localization", "go-bp", "secondary-structure"}
    structure = report["tasks"]["secondary-structure"]["probes"]
    assert set(structure) == {
        f"{name} linear" for name in ("composition", "window", "one@0", "one@1", "two@0", "two@1")
    }
    assert structure["composition linear"]["accuracy"]["mean"] > 0.85  # states here are letters; 170 steps
    assert len(report["tasks"]["localization"]["values"]["one@0 mlp"]) == 2
    assert report["families"]["one@0"] == report["families"]["two@0"]
    shown = (tmp_path / "signal.md").read_text()
    assert shown in capsys.readouterr().out
    assert shown.count("| secondary-structure |") == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a/b/small", "c/small"], "a name of its own"),
        (["small", "--tasks", "go-xx"], "go-xx is not one of"),
    ],
)
def test_what_cannot_be_compared(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        compare_models.run([*arguments, "--data", str(tmp_path), "--out", str(tmp_path)])
    assert left.value.code == ConfigError.exit_code


def test_the_real_chains_fit_together() -> None:
    chains = read_chains(shared("task_secondary_structure"), train_chains=3)
    assert len(chains.sequences) == 3 + 364
    assert len(chains.rows(train=False)) > 70_000
