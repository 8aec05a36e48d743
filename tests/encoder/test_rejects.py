"""Which proteins an encoder rejects, what it cannot load at all, and that all other proteins are embedded."""

import numpy as np
import pytest
import torch

from protea_ray.encoder import batch
from protea_ray.encoder.collect import Embedded, Rejected
from protea_ray.encoder.encoder import IN_FLIGHT
from protea_ray.errors import CheckpointError, ConfigError, EncoderError
from protea_ray.models.checkpoint import read_config
from protea_ray.models.families import recognise
from protea_ray.testing.random_checkpoint import build
from tests.encoder.conftest import load, proteins


def by_index(results):
    results = list(results)
    assert len({(r.index, r.recipe) for r in results}) == len(results)
    return {r.index: r for r in results}


def test_letters_that_no_model_has_and_empty_proteins(encoder):
    results = by_index(encoder("esm2", {}).embed(["MKT", "", "M*K-T", "mkt", "MÅT"]))
    assert isinstance(results[0], Embedded)
    assert results[1] == Rejected(1, 0, "empty_sequence", "no residues")
    assert results[2] == Rejected(2, 0, "illegal_letter", "not residues of this model: * -")
    assert results[3].reason == results[4].reason == "illegal_letter"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("family", ["esm2", "ankh"])
def test_a_number_that_is_not_finite_rejects_the_protein_and_no_neighbour(family, value, encoder):
    run = encoder(family, {"pooling": ("max",)}, {"layers": (3,)})
    table = run.module.get_input_embeddings().weight
    with torch.no_grad():
        table[run.alphabet.table[ord("W")], 3] = value
    sequences = ["MKTAYI", "MKWAYI", "AYIMKT"]
    results = list(run.embed(sequences))
    rejects = [r for r in results if isinstance(r, Rejected)]
    assert {(r.index, r.recipe, r.reason) for r in rejects} == {(1, 0, "non_finite"), (1, 1, "non_finite")}
    assert {r.index for r in results if isinstance(r, Embedded)} == {0, 2}
    assert run.stats.forward_passes == 1


@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_a_number_that_float16_cannot_hold_is_not_stored_as_infinity(pooling, encoder):
    fields = {"pooling": (pooling,), "normalize": False}
    run = encoder("esmc", fields | {"store_dtype": "float16"}, fields)
    with torch.no_grad():
        run.core.stack.norm.weight.mul_(1e6)
    half, full = sorted(run.embed(["MKTAYI"]), key=lambda r: r.recipe)
    assert half == Rejected(0, 0, "non_finite", "a number does not fit into float16")
    assert isinstance(full, Embedded)


@pytest.fixture
def small_memory(monkeypatch):
    """A device on which more than 120 tokens do not fit."""
    real, tried = batch.run, []

    def run(core, plans, windows):
        tried.append(sum(len(window.ids) for window in windows))
        if tried[-1] > 120:
            raise torch.OutOfMemoryError("not enough")
        return real(core, plans, windows)

    monkeypatch.setattr(batch, "run", run)
    return tried


@pytest.mark.parametrize("in_flight", [0, 1, 3])
def test_out_of_memory_halves_the_budget_remembers_it_and_rejects_only_what_fits_nowhere(
    in_flight, encoder, small_memory, monkeypatch
):
    """Also when earlier packs are still in flight, as on a GPU: nothing of them is lost or done twice."""
    monkeypatch.setitem(IN_FLIGHT, "cpu", in_flight)
    run = encoder("esm2", {}, {"layers": (1,)}, token_budget=400)
    sequences = proteins(30, 300, 50, 60, 20, 90, 100)
    expected = {r.index: r.pooled["mean"] for r in encoder("esm2", {}, token_budget=1).embed(sequences[2:4])}
    results = list(run.embed(sequences))
    assert len(results) == 14
    rejects = [r for r in results if isinstance(r, Rejected)]
    assert {(r.index, r.recipe, r.reason) for r in rejects} == {(1, 0, "out_of_memory"), (1, 1, "out_of_memory")}
    assert "302 tokens" in rejects[0].detail
    assert run.token_budget <= 120
    assert run.stats.out_of_memory >= 2
    done = {(r.index, r.recipe): r for r in results if isinstance(r, Embedded)}
    assert np.abs(done[2, 0].pooled["mean"] - expected[0]).max() < 1e-5
    small_memory.clear()
    assert len(list(run.embed(sequences[2:]))) == 10
    assert max(small_memory) <= 120  # the smaller budget is remembered


def test_recipes_that_cannot_share_a_forward_pass_are_all_named(encoder):
    with pytest.raises(EncoderError, match="dtype differs") as caught:
        encoder("esm2", {}, {"dtype": "bfloat16", "attention": "local:4"})
    assert "attention differs" in str(caught.value)
    with pytest.raises(EncoderError, match="quantization differs"):
        encoder("esm2", {}, {"quantization": "int8"})
    with pytest.raises(EncoderError, match="no recipe"):
        encoder("esm2")
    with pytest.raises(EncoderError, match="dtype differs"):
        run = encoder("esm2", {})
        run.under([run.recipes[0].model_copy(update={"dtype": "bfloat16"})])


def test_a_recipe_that_was_not_resolved_is_refused(encoder):
    run = encoder("esm2", {})
    raw = run.recipes[0].model_copy(update={"dtype": None})
    with pytest.raises(EncoderError, match="dtype is not set"):
        type(run).load(run.directory, run.family, [raw])


@pytest.mark.parametrize("family", ["t5", "prostt5", "ankh"])
def test_cls_of_a_family_without_one_is_refused(family, encoder):
    with pytest.raises(ConfigError, match="has no CLS token"):
        encoder(family, {"pooling": ("cls",)})


def test_weights_that_are_missing_are_never_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    directory = build("esmc", tmp_path)
    weights = load_file(directory / "model.safetensors")
    del weights["esmc.layers.1.self_attn.q_proj.weight"]
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 weights are missing.*layers\.1\.self_attn\.q_proj\.weight"):
        load(directory, {})


def test_files_that_cannot_be_read_are_a_checkpoint_error(tmp_path):
    directory = build("esm2", tmp_path)
    whole = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(whole[:-100])
    family = recognise(read_config(directory), directory)
    with pytest.raises(CheckpointError, match="EsmModel cannot be loaded"):
        family.load(directory, torch.float32)
    (directory / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="EsmModel cannot be loaded"):
        family.load(directory, torch.float32)


def test_no_configuration_and_no_gpu(tmp_path, encoder):
    run = encoder("esm2", {})
    with pytest.raises(CheckpointError, match=r"is empty; name a directory that holds config\.json"):
        type(run).load(tmp_path, run.family, run.recipes)
    if not torch.cuda.is_available():
        with pytest.raises(EncoderError, match="sees no GPU"):
            type(run).load(run.directory, run.family, run.recipes, device="cuda")
