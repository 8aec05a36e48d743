"""Attention through feature maps is the textbook's: every weight written out, summed to 1, times the values."""

from __future__ import annotations

import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AttentionInterface, EsmForMaskedLM

from protea_ray.config.identity import space_name
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.encoder import Embedded, Encoder
from protea_ray.encoder.feature_maps import FeatureMaps, hedgehog, linear_attention
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import CheckpointError, ConfigError, EncoderError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.models.weights import verify_digests
from protea_ray.testing.random_checkpoint import build
from tests.encoder.conftest import proteins
from tests.encoder.reference import Reference

LENGTHS = (1, 2, 3, 5, 63, 64, 65, 130)
HEADS, DIM = 3, 16
STEMS = {"esm2": "esm.encoder.layer.{}.attention.self", "esmc": "esmc.layers.{}.self_attn"}
NAMES = {family: stem + ".feature_maps.{}" for family, stem in STEMS.items()}


def textbook(q: np.ndarray, k: np.ndarray, v: np.ndarray, wq: np.ndarray, wk: np.ndarray) -> np.ndarray:
    """One head by loops over pairs, float64: q, k, v (L, d)."""

    def features(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        y = x @ w
        halves = [np.exp(sign * y - (sign * y).max()) for sign in (1, -1)]
        return np.concatenate([half / half.sum() for half in halves])

    out, of_q, of_k = np.zeros_like(v), [features(x, wq) for x in q], [features(x, wk) for x in k]
    for i in range(len(q)):
        weights = np.array([of_q[i] @ of_k[j] for j in range(len(k))])
        for j in range(len(k)):
            out[i] += weights[j] / weights.sum() * v[j]
    return out


def drawn(length: int, seed: int = 0) -> tuple[list[Tensor], FeatureMaps]:
    random = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, HEADS, length, DIM, generator=random) for _ in range(3))
    maps = FeatureMaps(HEADS, DIM)
    with torch.no_grad():
        for matrix in maps.parameters():
            matrix.copy_(torch.randn(HEADS, DIM, DIM, generator=random) * 0.4)
    return [q, k, v], maps


class Attending(torch.nn.Module):
    def __init__(self, maps: FeatureMaps) -> None:
        super().__init__()
        self.feature_maps = maps


@pytest.mark.parametrize("length", LENGTHS)
def test_two_products_are_the_textbooks_sum_over_pairs(length: int) -> None:
    (q, k, v), maps = drawn(length)
    with torch.no_grad():
        out = hedgehog(Attending(maps), q, k, v, DIM**-0.5)[0].numpy()
    for head in range(HEADS):
        arrays = [x[0, head].double().numpy() for x in (q, k, v)]
        matrices = [w[head].detach().double().numpy() for w in (maps.query, maps.key)]
        assert np.abs(out[head] - textbook(*arrays, *matrices)).max() < 1e-5


def test_gradients_are_those_of_the_written_out_weights() -> None:
    (q, k, v), maps = drawn(65)
    given = [x.requires_grad_() for x in (q, k, v)]
    wanted = torch.randn(1, HEADS, 65, DIM, generator=torch.Generator().manual_seed(1))
    (hedgehog(Attending(maps), q, k, v, DIM**-0.5) * wanted).sum().backward()
    own = [x.grad for x in (*given, maps.query, maps.key)]

    again = [x.detach().double().requires_grad_() for x in (q, k, v, maps.query, maps.key)]
    a, b, c, wq, wk = again
    sides = [torch.cat([(x @ w).softmax(-1), (-(x @ w)).softmax(-1)], -1) for x, w in ((a, wq), (b, wk))]
    weights = sides[0] @ sides[1].mT
    ((weights / weights.sum(-1, keepdim=True)) @ c * wanted.double()).sum().backward()
    for mine, reference in zip(own, again, strict=True):
        assert mine is not None and reference.grad is not None
        assert (mine - reference.grad).abs().max() < 1e-5 * max(1.0, float(reference.grad.abs().max()))


def test_identities_have_two_softmaxes_as_features() -> None:
    x = torch.randn(1, 2, 7, 4, generator=torch.Generator().manual_seed(0))
    features, other = FeatureMaps(2, 4)(x, -x)
    assert torch.equal(features[..., :4], x.softmax(-1)) and torch.equal(features[..., 4:], (-x).softmax(-1))
    assert torch.equal(other, torch.cat([features[..., 4:], features[..., :4]], -1))
    alike = linear_attention(*FeatureMaps(2, 4)(0 * x, 0 * x), x)  # no query prefers a key
    assert (alike - x.mean(2, keepdim=True)).abs().max() < 1e-6


def test_queries_that_were_scaled_before_are_scaled_back() -> None:
    """ESM-2 divides by sqrt(d) before the rotation and scales nothing after; ESM-C the other way round."""
    (q, k, v), maps = drawn(20)
    with torch.no_grad():
        esmc = hedgehog(Attending(maps), q, k, v, DIM**-0.5)
        esm2 = hedgehog(Attending(maps), q * DIM**-0.5, k, v, 1.0)
    assert (esmc - esm2).abs().max() < 1e-6


def test_features_that_are_far_apart_still_give_numbers() -> None:
    maps = FeatureMaps(1, 2)
    q, k = torch.tensor([[[[400.0, -400.0]]]]), torch.tensor([[[[0.0, 0.0], [-400.0, 400.0]]]])
    assert torch.isfinite(linear_attention(*maps(q, k), torch.ones(1, 1, 2, 2))).all()


def test_half_precision_values_are_summed_in_float32() -> None:
    (q, k, v), maps = drawn(300)
    with torch.no_grad():
        half = hedgehog(Attending(maps), *(x.bfloat16() for x in (q, k, v)), DIM**-0.5)
        whole = hedgehog(Attending(maps), *(x.bfloat16().float() for x in (q, k, v)), DIM**-0.5)
    assert half.dtype == torch.bfloat16 and torch.equal(half, whole.bfloat16())


def with_maps(family: str, place: Path, layers: int = 2, heads: int = 4, dim: int = 8) -> Path:
    """A random checkpoint with random maps."""
    directory = build(family, place, layers=layers)
    random = torch.Generator().manual_seed(3)
    names = [NAMES[family].format(layer, part) for layer in range(layers) for part in ("query", "key")]
    held = {name: torch.eye(dim) + 0.5 * torch.randn(heads, dim, dim, generator=random) for name in names}
    save_file(held, directory / "feature_maps.safetensors")
    return directory


@pytest.fixture(scope="module", params=("esm2", "esmc"))
def mapped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, with_maps(request.param, tmp_path_factory.mktemp("mapped") / request.param)


def encoder(directory: Path, **fields: Any) -> Encoder:
    recipe = {"model": str(directory), "pooling": ("none",), "store_dtype": "float32", "attention": "hedgehog"}
    return encoder_here(open_checkpoint(str(directory)), EmbeddingConfig.model_validate(recipe | fields), "cpu")


def residues(run: Encoder, *sequences: str) -> list[np.ndarray]:
    found = {result.index: result for result in run.embed(sequences)}
    assert all(isinstance(result, Embedded) for result in found.values())
    return [found[i].residues[0] for i in range(len(sequences))]  # type: ignore[union-attr, index]


def test_the_encoder_attends_as_transformers_with_the_weights_written_out(mapped: tuple[str, Path]) -> None:
    family, directory = mapped
    held = load_file(directory / "feature_maps.safetensors")

    def written_out(module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, scaling: float, **_: Any) -> Any:
        layer = next(number for number, own in enumerate(modules) if own is module)
        wq, wk = (held[NAMES[family].format(layer, part)].numpy() for part in ("query", "key"))
        unscaled = q[0] * math.sqrt(q.shape[-1]) if scaling == 1.0 else q[0]
        heads = [[x[head].double().numpy() for x in (unscaled, k[0], v[0])] for head in range(len(wq))]
        out = np.stack([textbook(*parts, wq[h], wk[h]) for h, parts in enumerate(heads)])
        return torch.from_numpy(out).float().transpose(0, 1)[None], None

    AttentionInterface.register("written_out", written_out)
    reference = Reference(family, directory)
    layers = reference.model.encoder.layer if family == "esm2" else reference.model.layers
    modules = [layer.attention.self if family == "esm2" else layer.self_attn for layer in layers]
    exact = reference.residues(PROTEIN)[-1]
    reference.model.config._attn_implementation = "written_out"
    wanted = reference.residues(PROTEIN)[-1]
    (found,) = residues(encoder(directory), PROTEIN)
    assert np.abs(found - wanted).max() < 1e-5 * max(1.0, float(np.abs(wanted).max()))
    assert np.abs(found - exact).max() > 0.05


PROTEIN = proteins(40, seed=9)[0]


def test_neighbours_in_a_pack_change_nothing(mapped: tuple[str, Path]) -> None:
    run = encoder(mapped[1])
    others = proteins(3, 70, 1, seed=4)
    (alone,) = residues(run, PROTEIN)
    packed = residues(run, others[0], PROTEIN, *others[1:])[1]
    assert np.abs(packed - alone).max() < 1e-5


def test_exact_attention_of_the_same_checkpoint_is_as_without_maps(mapped: tuple[str, Path], tmp_path: Path) -> None:
    family, directory = mapped
    plain = build(family, tmp_path / "plain", layers=2)
    (one,), (other,) = (residues(encoder(place, attention="exact"), PROTEIN) for place in (directory, plain))
    assert np.array_equal(one, other)


def test_maps_are_in_the_identity_and_their_bytes_are_verified(tmp_path: Path) -> None:
    directory = with_maps("esm2", tmp_path / "model")
    found = open_checkpoint(str(directory))
    assert found.facts.has_feature_maps and "feature_maps.safetensors" in found.files
    recipe = encoder(directory).recipes[0]
    before = space_name(recipe, found.files)
    held = load_file(directory / "feature_maps.safetensors")
    save_file({name: value * 1.5 for name, value in held.items()}, directory / "feature_maps.safetensors")
    changed = open_checkpoint(str(directory))
    assert space_name(recipe, changed.files) != before
    with pytest.raises(CheckpointError, match=r"feature_maps\.safetensors: recorded"):
        verify_digests(directory, found.files)
    verify_digests(directory, changed.files)


def test_transformers_opens_the_directory_and_says_nothing_of_maps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = with_maps("esm2", tmp_path / "model")
    with caplog.at_level(logging.INFO):
        _, report = EsmForMaskedLM.from_pretrained(directory, output_loading_info=True)
    assert not report["unexpected_keys"] and not report["missing_keys"]
    assert "feature_maps" not in caplog.text + str(capsys.readouterr())


def test_a_checkpoint_without_maps_is_told_the_command_that_makes_them(tmp_path: Path) -> None:
    plain = build("esm2", tmp_path / "plain", layers=2)
    with pytest.raises(ConfigError, match=f"--model {plain} --feature-maps hedgehog"):
        encoder(plain)


def test_a_model_that_says_hedgehog_needs_its_maps_without_being_asked(tmp_path: Path) -> None:
    from protea_ray.config.resolution import ModelFacts, misfits

    facts = ModelFacts("esm2", 2, True, 1022, "float16", attention="hedgehog")
    recipe = EmbeddingConfig(model="m")
    assert "hedgehog needs feature maps" in "".join(misfits(recipe, facts))
    assert misfits(recipe.model_copy(update={"attention": "exact"}), facts) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: held.popitem(), "is missing"),
        (lambda held: held.update({next(iter(held)): torch.zeros(4, 4, 8)}), "is 4 x 4 x 8 of F32, not 4 x 8 x 8"),
        (lambda held: held.update({next(iter(held)): torch.zeros(4, 8, 8).half()}), "of F16, not"),
        (lambda held: held.update({NAMES["esm2"].format(2, "key"): torch.zeros(4, 8, 8)}), "belongs to no layer"),
        (lambda held: held.update({next(iter(held)): torch.full((4, 8, 8), math.nan)}), "NaN or infinity"),
    ],
)
def test_maps_of_another_model_are_refused(tmp_path: Path, change: Any, words: str) -> None:
    directory = with_maps("esm2", tmp_path / "model")
    held = load_file(directory / "feature_maps.safetensors")
    change(held)
    save_file(held, directory / "feature_maps.safetensors")
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(str(directory))


def test_t5_takes_no_maps(tmp_path: Path) -> None:
    directory = build("t5", tmp_path / "t5", layers=2)
    with pytest.raises(ConfigError, match="hedgehog"):
        encoder(directory)
    shutil.copy(with_maps("esm2", tmp_path / "esm2") / "feature_maps.safetensors", directory)
    with pytest.raises(CheckpointError, match="t5 takes no feature maps"):
        open_checkpoint(str(directory))


def test_a_module_that_was_loaded_without_maps_says_so() -> None:
    (q, k, v), _ = drawn(3)
    with pytest.raises(EncoderError, match="loaded without them"):
        hedgehog(torch.nn.Module(), q, k, v, 1.0)


def test_a_damaged_file_of_maps_is_no_model(tmp_path: Path) -> None:
    directory = with_maps("esm2", tmp_path / "model")
    path = directory / "feature_maps.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="truncated"):
        open_checkpoint(str(directory))
    assert json.loads((directory / "config.json").read_text())["model_type"] == "esm"
