"""Logits, attention maps and contacts against transformers' own heads and eager attention."""

import numpy as np
import pytest
import torch
from transformers import EsmcForMaskedLM, EsmForMaskedLM

from protea_ray.encoder.collect import Rejected
from protea_ray.encoder.maps import attention_maps, contact_map
from protea_ray.errors import EncoderError
from protea_ray.testing.random_checkpoint import FAMILIES
from tests.encoder.conftest import load, proteins
from tests.encoder.reference import SPECIALS, Reference

HEADS = {"esm2": EsmForMaskedLM, "esmc": EsmcForMaskedLM}
LOGITS = {"outputs": ("embeddings", "logits")}


def wanting_logits(run):
    """The same encoder under a recipe that keeps logits, without the check of `resolve`."""
    return run.under([run.recipes[0].model_copy(update=LOGITS)])


@pytest.mark.parametrize("family", HEADS)
def test_logits_equal_the_language_model(family, encoder, checkpoint, reference):
    model = HEADS[family].from_pretrained(checkpoint(family)).eval()
    sequences = proteins(1, 30, 200)
    results = list(encoder(family, LOGITS | {"layers": (1, 2), "pooling": ("max",)}).embed(sequences))
    assert sorted(result.index for result in results) == [0, 1, 2]
    for result in results:
        with torch.inference_mode():
            expected = model(torch.tensor([reference(family).ids(sequences[result.index])])).logits[0, 1:-1]
        assert result.logits[0].shape == expected.shape
        assert np.abs(result.logits[0] - expected.numpy()).max() < 1e-4  # logits reach 10


@pytest.mark.parametrize("family", HEADS)
def test_logits_beside_embeddings_come_from_the_same_pass(family, encoder):
    sequences = proteins(1, 30, 250)
    cut = {"max_residues": 100, "window_overlap": 30}
    both = cut | {"outputs": ("embeddings", "logits"), "pooling": ("mean", "cls", "none"), "layers": (2,)}
    alone, run = encoder(family, LOGITS | cut), encoder(family, both, cut | {"pooling": ("max",)})
    plain = {r.index: r.logits[0] for r in alone.embed(sequences)}
    results = [r for r in run.embed(sequences) if r.recipe == 0]
    for result in results:
        assert np.abs(result.logits[0] - plain[result.index]).max() < 1e-5
        assert result.residues[0].shape == (len(sequences[result.index]), 32)
    assert len(results) == 3
    assert run.stats.windows == 1 + 1 + 4
    assert run.stats.tokens == 1 + 30 + 4 * 85 + 6 * run.alphabet.specials


def test_a_recipe_of_cls_and_logits_sees_all_windows(encoder):
    fields = {"max_residues": 100, "window_overlap": 30, "pooling": ("cls",), "outputs": ("embeddings", "logits")}
    (result,) = encoder("esm2", fields).embed(proteins(250))
    assert (result.logits[0].shape, result.pooled["cls"].shape) == ((250, 33), (1, 32))
    assert (result.n_windows, result.truncated) == (4, False)


def test_logits_of_long_and_of_rejected_proteins(encoder):
    run = encoder("esm2", LOGITS | {"max_residues": 50, "window_overlap": 10, "on_long": "truncate"})
    long, strange = sorted(run.embed(["M" * 80, "M-K"]), key=lambda result: result.index)
    assert long.logits[0].shape == (50, 33)
    assert long.truncated
    assert strange == Rejected(1, 0, "illegal_letter", "not residues of this model: -")


@pytest.mark.parametrize("family", ["t5", "ankh"])
def test_families_that_predict_with_a_decoder_have_no_logits(family, encoder):
    with pytest.raises(EncoderError, match="no language-model head"):
        wanting_logits(encoder(family, {}))


def test_a_checkpoint_saved_without_heads(tmp_path, checkpoint):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint("esm2"), tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    bare = {k.removeprefix("esm."): v for k, v in weights.items() if "head" not in k}
    save_file(bare, tmp_path / "model.safetensors", metadata={"format": "pt"})
    run = load(tmp_path, {})
    assert len(list(run.embed(["MKT"]))) == 1
    with pytest.raises(EncoderError, match="no language-model head"):
        wanting_logits(run)
    with pytest.raises(EncoderError, match="no contact head"):
        contact_map(run, "MKT")


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_maps_equal_eager_attention(family, encoder, checkpoint):
    (sequence,) = proteins(150)
    plain = Reference(family, checkpoint(family), attn_implementation="eager")
    before = SPECIALS[family][0]
    with torch.inference_mode():
        out = plain.model(input_ids=torch.tensor([plain.ids(sequence)]), output_attentions=True)
    expected = torch.stack([layer[0] for layer in out.attentions]).numpy()
    expected = expected[:, :, before : before + 150, before : before + 150]
    maps = attention_maps(encoder(family, {}), sequence)
    assert maps.shape == (3, 4, 150, 150)
    assert np.abs(maps - expected).max() < 1e-5


def test_contacts_equal_transformers(encoder, checkpoint, reference):
    (sequence,) = proteins(90)
    model = EsmForMaskedLM.from_pretrained(checkpoint("esm2"), attn_implementation="eager").eval()
    ids = torch.tensor([reference("esm2").ids(sequence)])
    with torch.inference_mode():
        expected = model.predict_contacts(ids, torch.ones_like(ids))[0].numpy()
    contacts = contact_map(encoder("esm2", {}), sequence)
    assert contacts.shape == (90, 90)
    assert np.abs(contacts - expected).max() < 1e-5
    assert np.allclose(contacts, contacts.T, atol=1e-6)


def test_maps_are_for_short_proteins_of_known_letters(encoder):
    run = encoder("esm2", {})
    with pytest.raises(EncoderError, match=r"maps of 1023 residues are refused: 1 to 1022 only \(17 MB a layer\)"):
        attention_maps(run, "M" * 1023)
    with pytest.raises(EncoderError, match="maps of 11 residues are refused: 1 to 10"):
        contact_map(run, "M" * 11, limit=10)
    with pytest.raises(EncoderError, match="maps of 0 residues"):
        contact_map(run, "")
    with pytest.raises(EncoderError, match="not residues"):
        attention_maps(run, "M-K")
    with pytest.raises(EncoderError, match="no contact head"):
        contact_map(encoder("ankh", {}), "MKT")
