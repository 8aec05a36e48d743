"""Stretched rotary positions: the frequencies of transformers' own functions and of loops, in the model that runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.configuration_llama import LlamaConfig

from protea_ray.config.attention_forms import RopeScaling, rope_scaling
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.encoder.rope import scale_rotary, stretched, temperature
from protea_ray.errors import ConfigError, EncoderError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.models.families import recognise
from tests.encoder.conftest import load, proteins
from tests.encoder.reference import Reference

TRAINED = 1024  # tokens of ESM-2's crops
KINDS = {"linear": "linear", "yarn": "yarn"}  # ours to transformers', which has no fixed NTK
WHOLE = {"pooling": ["none"], "normalize": False}


def usual(head_dim: int) -> torch.Tensor:
    return 1.0 / 10_000.0 ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)


def of_transformers(kind: str, factor: float, head_dim: int) -> tuple[torch.Tensor, float]:
    """Frequencies and temperature as transformers computes them for a model of language."""
    config = LlamaConfig(
        hidden_size=2 * head_dim, num_attention_heads=2, max_position_embeddings=TRAINED,
        rope_parameters={
            "rope_type": kind, "factor": factor, "rope_theta": 10_000.0, "original_max_position_embeddings": TRAINED,
        },
    )  # fmt: skip
    return ROPE_INIT_FUNCTIONS[kind](config)


@pytest.mark.parametrize("head_dim", [16, 24, 32, 64])
@pytest.mark.parametrize("factor", [1.5, 2.0, 8.0, 34.46])
@pytest.mark.parametrize("kind", KINDS)
def test_linear_and_yarn_are_those_of_transformers(kind: str, factor: float, head_dim: int) -> None:
    scaling = RopeScaling(kind, factor)  # type: ignore[arg-type]
    wanted, warmth = of_transformers(KINDS[kind], factor, head_dim)

    found = stretched(usual(head_dim), scaling, TRAINED)

    assert found.dtype is torch.float32
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    assert temperature(scaling) == pytest.approx(warmth, rel=1e-12)


@pytest.mark.parametrize("head_dim", [16, 24, 64])
@pytest.mark.parametrize("factor", [1.5, 4.0])
def test_ntk_is_the_formula_with_a_larger_base(factor: float, head_dim: int) -> None:
    base = 10_000.0 * factor ** (head_dim / (head_dim - 2))
    wanted = [base ** (-2 * k / head_dim) for k in range(head_dim // 2)]

    found = stretched(usual(head_dim), RopeScaling("ntk", factor), TRAINED).tolist()

    assert found == pytest.approx(wanted, rel=1e-6)
    assert found[0] == 1 and found[-1] == pytest.approx(usual(head_dim)[-1].item() / factor, rel=1e-6)


def test_yarn_keeps_fast_pairs_and_slows_slow_ones() -> None:
    """Head dim 16: turns within 1,024 tokens are 163, 51, 16, 5.2, 1.6, 0.5, 0.16, 0.05; bounds are 32 and 1."""
    turns = [1024 * 10_000 ** (-2 * k / 16) / (2 * math.pi) for k in range(8)]

    share = stretched(usual(16), RopeScaling("yarn", 2.0), TRAINED) / usual(16)

    assert [round(t, 2) for t in turns] == [162.97, 51.54, 16.3, 5.15, 1.63, 0.52, 0.16, 0.05]
    np.testing.assert_allclose(share, [1, 1, 0.875, 0.75, 0.625, 0.5, 0.5, 0.5], rtol=1e-6)
    assert temperature(RopeScaling("yarn", 2.0)) == pytest.approx(1.0693147)
    assert temperature(RopeScaling("linear", 2.0)) == temperature(RopeScaling("ntk", 2.0)) == 1


@pytest.mark.parametrize("text", ["linear:3", "ntk:3", "yarn:3"])
def test_what_cannot_be_stretched_is_refused(text: str) -> None:
    scaling = rope_scaling(text)
    with pytest.raises(EncoderError, match="no rotary positions"):
        scale_rotary(torch.nn.Linear(2, 2), scaling, TRAINED)
    rotary = torch.nn.Module()
    rotary.inv_freq, rotary.attention_scaling = torch.ones(1), 1.0  # type: ignore[assignment]
    with pytest.raises(EncoderError, match="no trained length"):
        scale_rotary(rotary, scaling, None)
    with pytest.raises(EncoderError, match="two pairs"):
        scale_rotary(rotary, scaling, TRAINED)


# --- in the model ------------------------------------------------------------------------------------------------

TOKENS = {"esm2": 1024, "esmc": 2048}


def stretched_by_hand(plain: Reference, scaling: RopeScaling) -> Reference:
    """The plain model with transformers' own frequencies, or those of a larger base, and no code of the package."""
    model: Any = plain.model
    rotary = model.rotary_emb if plain.family == "esmc" else model.rotary_embeddings
    head_dim, factor = 2 * len(rotary.inv_freq), scaling.factor
    base = 10_000.0 * (factor ** (head_dim / (head_dim - 2)) if scaling.kind == "ntk" else 1)
    turns = [base ** (-2 * k / head_dim) for k in range(head_dim // 2)]
    if scaling.kind == "linear":
        turns = [turn / factor for turn in turns]
    rotary.inv_freq = torch.tensor(turns, dtype=torch.float32)
    if scaling.kind == "yarn":
        config = LlamaConfig(
            hidden_size=2 * head_dim, num_attention_heads=2,
            rope_parameters={
                "rope_type": "yarn", "factor": factor, "rope_theta": 10_000.0,
                "original_max_position_embeddings": TOKENS[plain.family],
            },
        )  # fmt: skip
        rotary.inv_freq, rotary.attention_scaling = ROPE_INIT_FUNCTIONS["yarn"](config)
    return plain


@pytest.mark.parametrize("text", ["linear:2", "ntk:2", "yarn:2"])
@pytest.mark.parametrize("family", ["esm2", "esmc"])
def test_vectors_are_those_of_the_plain_model_with_other_frequencies(
    checkpoint: Callable[[str], Path], family: str, text: str
) -> None:
    short, long = proteins(40, 1100)
    plain = Reference(family, checkpoint(family))
    usual_rows = plain.residues(long)[-1]
    wanted = [stretched_by_hand(plain, rope_scaling(text)).residues(p)[-1] for p in (short, long)]

    made = load(checkpoint(family), {**WHOLE, "rope": text})
    found = {result.index: result.residues[0] for result in made.embed([short, long])}  # type: ignore[union-attr]

    assert made.recipes[0].max_residues == 2 * (TOKENS[family] - 2) and made.stats.windows == 2
    for index in (0, 1):
        np.testing.assert_allclose(found[index], wanted[index], atol=2e-5)
    assert np.abs(wanted[1] - usual_rows).max() > 0.1


def vectors(encoder: Encoder, letters: list[str]) -> np.ndarray:
    rows = {result.index: result.pooled["mean"][0] for result in encoder.embed(letters)}  # type: ignore[union-attr]
    return np.stack([rows[n] for n in range(len(letters))])


def test_a_protein_alone_and_in_a_pack_is_the_same(checkpoint: Callable[[str], Path]) -> None:
    made, letters = load(checkpoint("esm2"), {"rope": "yarn:1.5"}), proteins(30, 400, 7, 120)

    alone = np.concatenate([vectors(made, [one]) for one in letters])

    np.testing.assert_allclose(vectors(made, letters), alone, atol=1e-5)


def test_quantised_weights_keep_exact_stretched_frequencies(checkpoint: Callable[[str], Path]) -> None:
    pytest.importorskip("torchao")
    both = [load(checkpoint("esm2"), {"rope": "ntk:3", "quantization": bits}) for bits in (None, "int8")]
    frequencies = [made.module.rotary_embeddings.inv_freq for made in both]

    assert torch.equal(*frequencies) and frequencies[0].dtype is torch.float32
    assert torch.equal(frequencies[0], stretched(usual(8), RopeScaling("ntk", 3.0), TRAINED))
    letters = proteins(200)
    assert np.abs(vectors(both[0], letters) - vectors(both[1], letters)).max() < 0.1


# head dim 8: the third pair makes one turn in 628.3 tokens, so 629 tokens, and not 627, reach the fourth with the ramp
AT_627 = stretched(usual(8), RopeScaling("yarn", 2.0), 629)


def test_the_special_tokens_count_in_the_trained_length() -> None:
    of_residues = stretched(usual(8), RopeScaling("yarn", 2.0), 627)
    np.testing.assert_allclose(of_residues / usual(8), [1, 0.75, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(AT_627 / usual(8), [1, 5 / 6, 2 / 3, 0.5], rtol=1e-6)


def test_the_trained_length_of_a_marker_counts(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    config = json.loads((checkpoint("esm2") / "config.json").read_text())
    for file in checkpoint("esm2").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config | {"protea_ray": {"trained_residues": 627}}))

    made = load(tmp_path, {"rope": "yarn:2"})

    assert made.recipes[0].max_residues == 1254
    assert torch.equal(made.module.rotary_embeddings.inv_freq, AT_627)


def test_the_trained_length_of_an_adapter_counts(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """One that changes no weight, as training writes it."""
    base = checkpoint("esm2")
    name = "base_model.model.esm.encoder.layer.0.attention.self.query.lora_"
    factors = {f"{name}A.weight": torch.ones(2, 32), f"{name}B.weight": torch.zeros(32, 2)}
    save_file(factors, tmp_path / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4.0, "base_model_name_or_path": str(base)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    marker = {"base": open_checkpoint(str(base)).files, "quantization": None, "trained_residues": 600}
    (tmp_path / "protea_ray.json").write_text(json.dumps(marker))

    made = encoder_here(open_checkpoint(str(tmp_path)), EmbeddingConfig(model=str(tmp_path), rope="yarn:2"), "cpu")

    assert made.recipes[0].max_residues == 1200
    module: Any = made.module
    assert torch.equal(module.rotary_embeddings.inv_freq, stretched(usual(8), RopeScaling("yarn", 2.0), 602))


def test_recipes_of_two_stretches_share_no_pass(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(EncoderError, match="rope differs"):
        load(checkpoint("esm2"), {"rope": "yarn:2"}, {"rope": "yarn:3"})
    with pytest.raises(EncoderError, match="rope differs"):
        made = load(checkpoint("esm2"), {"rope": "yarn:2"})
        made.under([made.recipes[0].model_copy(update={"rope": "none"})])


@pytest.mark.parametrize("family", ["t5", "prostt5", "ankh"])
def test_families_without_rotary_positions_are_refused(checkpoint: Callable[[str], Path], family: str) -> None:
    with pytest.raises(ConfigError, match=r"rope: yarn:2 .* no rotary positions.*Use rope none"):
        load(checkpoint(family), {"rope": "yarn:2"})


@pytest.mark.parametrize("own", [{"rope_parameters": {"rope_type": "yarn"}}, {"rope_scaling": {"type": "dynamic"}}])
def test_a_checkpoint_that_stretches_itself_is_not_stretched_twice(
    checkpoint: Callable[[str], Path], own: dict[str, Any]
) -> None:
    directory = checkpoint("esmc")
    config = json.loads((directory / "config.json").read_text())
    usual_rope = config.pop("rope_parameters")
    family = recognise(config, directory)

    assert family.facts(config | {"rope_parameters": usual_rope}).has_rotary
    assert family.facts(config).has_rotary
    assert not family.facts(config | own).has_rotary
