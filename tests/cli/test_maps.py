"""`protea-ray maps`: what the file holds, and what is refused before the model is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import EsmForMaskedLM

from protea_ray.encoder.maps import write_maps
from protea_ray.errors import ConfigError, InputError
from protea_ray.testing.random_checkpoint import build
from tests import commands
from tests.encoder.reference import Reference

PROTEINS = {"a": "MKTAYIAKQRQISF", "../b": "MKVUZOBJX"}


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "p.fasta"
    long = f">long\n{'M' * 1023}\n>longer\n{'M' * 2000}\n>gap\nM-K\n"
    path.write_text("".join(f">{id}\n{s}\n" for id, s in PROTEINS.items()) + long)
    return path


def test_maps_of_the_command_line_equal_transformers(fasta: Path, esm2: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps.npz"
    done = commands.run(
        "maps", fasta, out, "--outputs", "attention,contacts", "--id", "a", "--id", "../b", "--model", esm2
    )
    assert done.returncode == 0, done.stderr
    assert "2 protein(s)" in done.stdout
    model = EsmForMaskedLM.from_pretrained(esm2, attn_implementation="eager").eval()

    with np.load(out, allow_pickle=False) as found:
        assert found["id"].tolist() == list(PROTEINS)
        assert set(found.files) == {"id", "attention_0", "contacts_0", "attention_1", "contacts_1"}
        for number, letters in enumerate(PROTEINS.values()):
            ids = torch.tensor([Reference("esm2", esm2).ids(letters)])
            with torch.inference_mode():
                attention = torch.stack(model(ids, output_attentions=True).attentions)[:, 0, :, 1:-1, 1:-1]
                contacts = model.predict_contacts(ids, torch.ones_like(ids))[0]
            assert np.abs(found[f"attention_{number}"] - attention.numpy()).max() < 1e-5
            assert np.abs(found[f"contacts_{number}"] - contacts.numpy()).max() < 1e-5


def test_every_protein_that_stands_in_the_way_is_named(fasta: Path, esm2: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_maps(str(fasta), tmp_path / "m.npz", ids=["long", "longer", "gap"], model=str(esm2))
    assert [word in str(caught.value) for word in ("long has 1023", "longer has 2000", "line 9: gap")] == [True] * 3
    with pytest.raises(InputError, match="has no protein 'c'") as caught:
        write_maps(str(fasta), tmp_path / "m.npz", ids=["a", "c"], model=str(esm2))
    assert len(caught.value.problems) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_record_is_left_out_and_named(fasta: Path, esm2: Path, tmp_path: Path) -> None:
    done = commands.call("maps", fasta, tmp_path / "m.npz", "--model", esm2)

    assert done.returncode == 0, done.stderr
    assert "maps of 2 protein(s)" in done.stdout
    assert [
        word in done.stderr for word in ("3 record(s) left out", "long has 1023", "longer has 2000", "line 9: gap")
    ] == [True] * 4
    with np.load(tmp_path / "m.npz", allow_pickle=False) as found:
        assert found["id"].tolist() == list(PROTEINS)


def test_options_that_cannot_work_are_all_named(fasta: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_maps(str(fasta), tmp_path / "no" / "maps.txt", outputs=["logits", "contacts"])
    assert len(caught.value.problems) == 3
    with pytest.raises(ConfigError, match="none given"):
        write_maps(str(fasta), tmp_path / "m.npz", outputs=[])


def test_contacts_need_their_head(fasta: Path, tmp_path: Path) -> None:
    model = str(build("ankh", tmp_path / "ankh"))
    with pytest.raises(ConfigError, match="no contact head"):
        write_maps(str(fasta), tmp_path / "m.npz", outputs=["contacts"], ids=["a"], model=model)
    write_maps(str(fasta), tmp_path / "m.npz", ids=["a"], model=model)
    with np.load(tmp_path / "m.npz", allow_pickle=False) as found:
        assert found["attention_0"].shape == (3, 4, 14, 14)


def test_maps_of_structure_letters_are_those_behind_their_own_token(tmp_path: Path) -> None:
    from transformers import T5EncoderModel, T5Tokenizer

    directory, given, out = build("prostt5", tmp_path / "m", layers=2), tmp_path / "s.fasta", tmp_path / "maps.npz"
    given.write_text(">s\nDVVVVCPPDQDWDWDWQPVPD\n")
    asked = commands.call("maps", given, out, "--model", directory)
    assert (asked.returncode, "--alphabet 3di" in asked.stderr, out.exists()) == (2, True, False)

    done = commands.call("maps", given, out, "--model", directory, "--alphabet", "3di")

    assert done.returncode == 0, done.stderr
    own = T5Tokenizer.from_pretrained(directory)
    model = T5EncoderModel.from_pretrained(directory, attn_implementation="eager").eval()
    ids = own("<fold2AA> d v v v v c p p d q d w d w d w q p v p d", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = torch.stack(model(ids, output_attentions=True).attentions)[:, 0, :, 1:-1, 1:-1]
    with np.load(out, allow_pickle=False) as found:
        assert np.abs(found["attention_0"] - expected.numpy()).max() < 1e-5
    wrong = commands.call("maps", given, out, "--model", directory, "--alphabet", "dna")
    assert (wrong.returncode, "alphabet" in wrong.stderr) == (2, True)
