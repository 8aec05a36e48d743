"""Variants of attention in whole encoders: packs, plain transformers under a mask, rejects, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EsmModel, EsmTokenizer

from protea_ray.config.attention_forms import attention_variant
from protea_ray.encoder import attention
from protea_ray.encoder.acceleration import ON, choose_compiling
from protea_ray.encoder.attention import choose
from protea_ray.encoder.canary import check_canaries
from protea_ray.encoder.collect import Embedded, Rejected
from protea_ray.encoder.maps import attention_maps, write_maps
from protea_ray.encoder.variants import dispatch, favor
from protea_ray.encoder.variants.nystrom import error_of_some
from protea_ray.errors import ConfigError, EncoderError, ProteaRayError
from protea_ray.models.checkpoint import open_checkpoint
from tests.encoder.conftest import proteins

FORMS = ["global:8", "bigbird:8,3,1,2,0", "nystrom:8", "favor:64,0"]
FAMILIES = ["esm2", "esmc"]


def vectors(encoder: Any, sequences: list[str]) -> dict[int, np.ndarray]:
    found = list(encoder.embed(sequences))
    assert all(isinstance(result, Embedded) for result in found), found
    return {result.index: result.pooled["mean"][0] for result in found}


def uncertified(encoder: Any) -> Any:
    return replace(encoder, core=replace(encoder.core, certified=False))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_vector_does_not_depend_on_its_neighbours(encoder: Any, family: str, form: str) -> None:
    loaded = uncertified(encoder(family, {"attention": form}))
    sequences = proteins(1, 2, 5, 30, 63, 64, 200)
    packed = vectors(loaded, sequences)
    for index, sequence in enumerate(sequences):
        assert np.abs(vectors(loaded, [sequence])[0] - packed[index]).max() < 1e-5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_short_or_wide_variants_are_exact_and_others_are_not(encoder: Any, family: str, form: str) -> None:
    exact, loaded = encoder(family, {}), uncertified(encoder(family, {"attention": form}))
    (sequence,) = proteins(200)
    assert np.abs(vectors(exact, [sequence])[0] - vectors(loaded, [sequence])[0]).max() > 1e-4
    wide = {"global:8": "global:200", "bigbird:8,3,1,2,0": "bigbird:8,99,0,0,0", "nystrom:8": "nystrom:51"}
    if form in wide:
        same = vectors(encoder(family, {"attention": wide[form]}), [sequence])[0]
        assert np.abs(vectors(exact, [sequence])[0] - same).max() < 1e-5


def test_global_attention_is_that_of_plain_transformers_under_a_mask(encoder: Any, checkpoint: Any) -> None:
    (sequence,) = proteins(60, letters="ACDEFGHIKLMNPQRSTVWY")
    directory = checkpoint("esm2")
    model = EsmModel.from_pretrained(directory, add_pooling_layer=False, attn_implementation="eager").eval()
    tokens = EsmTokenizer.from_pretrained(directory)(sequence, return_tensors="pt")
    length = tokens["input_ids"].shape[1]
    place = torch.arange(length)
    seen = (place[None] - place[:, None]).abs() <= 8
    seen[[0, -1]] = True
    seen[:, [0, -1]] = True
    mask = torch.zeros(1, 1, length, length).masked_fill(~seen, float("-inf"))
    with torch.inference_mode():
        x = model.embeddings(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        rotary: Any = model.rotary_embeddings
        rotations = rotary(x, place[None])
        layers: Any = model.encoder
        states = layers(x, attention_mask=mask, position_embeddings=rotations)[0][0, 1:-1]
    expected = states.mean(0).numpy()
    found = vectors(encoder("esm2", {"attention": "global:8", "normalize": False}), [sequence])[0]
    assert np.abs(found - expected).max() < 1e-5


def test_random_features_differ_between_layers(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layers: list[int] = []
    drawn = favor.random_features
    monkeypatch.setattr(favor, "random_features", lambda *given: layers.append(given[3]) or drawn(*given))
    loaded = encoder("esm2", {"attention": "favor:64,0"})
    vectors(loaded, proteins(30))
    assert layers == list(range(1, loaded.facts.n_layers + 1))


# the check of nystrom


@pytest.mark.parametrize("budget", [60, 1000])  # packs: the far one between others, or among them
def test_a_protein_that_cannot_be_approximated_is_a_reject_and_the_others_are_as_alone(
    encoder: Any, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = encoder("esm2", {"attention": "nystrom:8"}, token_budget=budget)
    sequences = proteins(20, 40, 60, 30)
    alone = vectors(uncertified(loaded), sequences)
    measured = dispatch.error_of_some

    def far_at_42(q: Any, *rest: Any) -> Any:  # tokens: the protein of 40 residues
        return measured(q, *rest) * 0 + (3.0 if q.shape[2] == 42 else 0.05)

    monkeypatch.setattr(dispatch, "error_of_some", far_at_42)
    found = {result.index: result for result in loaded.embed(sequences)}
    far = found.pop(1)
    assert isinstance(far, Rejected) and far.reason == "approximation_error"
    assert far.detail.startswith("layer 1: the outputs of nystrom:8 are 3.00 of their length away from exact")
    assert sorted(found) == [0, 2, 3]
    for index, result in found.items():
        assert isinstance(result, Embedded)
        assert np.abs(result.pooled["mean"][0] - alone[index]).max() < 1e-5


def test_the_error_that_is_checked_is_that_of_the_queries(encoder: Any) -> None:
    q, k, v = (torch.randn(1, 2, 100, 8, generator=torch.Generator().manual_seed(n)) for n in range(3))
    exact = (q @ k.transpose(2, 3) * 0.3).softmax(-1) @ v
    assert error_of_some(q, k, v, exact, 0.3) < 1e-5
    assert abs(error_of_some(q, k, v, 1.5 * exact, 0.3) - 0.5) < 1e-5
    assert error_of_some(q, k, v, exact, 0.3) == error_of_some(q, k, v, exact, 0.3)
    assert error_of_some(q, k, v, exact * float("nan"), 0.3).isnan()


@pytest.mark.parametrize("form", FORMS)
def test_the_canaries_are_content(encoder: Any, form: str) -> None:
    check_canaries(uncertified(encoder("esm2", {"attention": form})))


# what is refused


@pytest.mark.parametrize("form", [*FORMS, "hedgehog"])
@pytest.mark.parametrize("family", ["t5", "ankh"])
def test_a_relative_bias_takes_no_variant(encoder: Any, family: str, form: str) -> None:
    with pytest.raises(ConfigError, match=rf"attention: {form} .* bias of every pair .* exact and local:W"):
        encoder(family, {"attention": form})
    encoder(family, {"attention": "local:8"})


def test_other_kernels_are_refused_by_name(encoder: Any) -> None:
    with pytest.raises(EncoderError, match=r"'flex' cannot run as global:8 on cpu .*; use sdpa"):
        encoder("esm2", {"attention": "global:8"}, kernel="flex")
    variant = attention_variant("favor:64,0")
    assert choose("cuda", "float16", False, variant=variant).name == "sdpa"
    assert "favor:64,0" in choose("cuda", "float16", False, variant=variant).why
    assert choose("cuda", "float16", False, variant=attention_variant("local:8")).name == "varlen"


@pytest.mark.parametrize("form", ["global:8", "bigbird:16,3,1,1,0", "favor:32,0"])
def test_nothing_waits_for_the_device_where_nothing_is_checked(
    form: str, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The errors of windows are read on the host, layer by layer: a GPU would stand still for it."""
    monkeypatch.setattr(attention, "_require_near", lambda *_: pytest.fail("errors were read"))
    (found,) = encoder("esm2", {"attention": form}).embed(proteins(100))
    assert isinstance(found, Embedded)


def test_layers_are_not_compiled_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protea_ray.encoder.acceleration.find_spec", lambda name: object())
    chosen = choose_compiling("cuda", "sdpa", variant=attention_variant("global:8"))
    assert chosen.name != ON and "global:8" in chosen.why
    assert choose_compiling("cuda", "sdpa", variant=attention_variant("local:8")).name == ON


@pytest.mark.parametrize("form", FORMS)
def test_maps_are_refused(encoder: Any, form: str) -> None:
    with pytest.raises(EncoderError, match=r"never has its weights written out; maps need attention exact or local:W"):
        attention_maps(encoder("esm2", {"attention": form}), "MKTAYIAKQR")


def test_hedgehog_needs_feature_maps(encoder: Any) -> None:
    with pytest.raises(ProteaRayError, match="hedgehog needs feature maps"):
        vectors(encoder("esm2", {"attention": "hedgehog"}), proteins(20))


def test_canaries_past_the_own_limit_of_a_recipe_stop_nothing(encoder: Any) -> None:
    """Two landmarks carry no canary, but 8 tokens and less are exact."""
    loaded = encoder("esm2", {"attention": "nystrom:2"})
    check_canaries(loaded)
    assert [type(result) for result in loaded.embed(proteins(6))] == [Embedded]
    assert [type(result) for result in loaded.embed(proteins(200))] == [Rejected]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
@pytest.mark.parametrize("form", ["global:8", "favor:64,0"])
def test_compiled_on_request_the_numbers_are_the_same(encoder: Any, form: str) -> None:
    """The compiler leaves attention to Python, which goes through the proteins."""
    sequences = proteins(5, 30, 60)
    eager, compiled = (encoder("esm2", {"attention": form}, compiled=asked) for asked in ("off", "on"))
    assert compiled.layers.name == ON
    expected = vectors(eager, sequences)
    for index, vector in vectors(compiled, sequences).items():
        assert np.abs(vector - expected[index]).max() < 1e-5


def test_a_file_of_maps_is_refused_for_a_model_of_another_attention(
    checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_checkpoint(str(checkpoint("esm2")))
    own = replace(opened, facts=replace(opened.facts, attention="global:8"))
    monkeypatch.setattr("protea_ray.encoder.maps.open_checkpoint", lambda *given: own)
    (tmp_path / "p.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    with pytest.raises(ConfigError, match="trained with attention global:8, whose weights are never written out"):
        write_maps(str(tmp_path / "p.fasta"), tmp_path / "maps.npz", model=opened.model)
    assert not (tmp_path / "maps.npz").exists()
