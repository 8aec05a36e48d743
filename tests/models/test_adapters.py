"""A kept adapter opens over the base that it was trained on, its digests are in the files, and nothing else opens."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from protea_ray.config.identity import space_name
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.resolution import resolve
from protea_ray.errors import CheckpointError, ConfigError
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint
from protea_ray.models.weights import verify_digests
from tests.models.conftest import tensors, write

STEM = "base_model.model.esm.encoder.layer"
SETTINGS = {"peft_type": "LORA", "r": 2, "lora_alpha": 4.0, "use_rslora": False}


def factors(parts: tuple[str, ...] = ("attention.self.query", "intermediate.dense")) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    held: dict[str, np.ndarray] = {}
    for part in parts:
        out = 32 if part == "intermediate.dense" else 8
        held[f"{STEM}.1.{part}.lora_A.weight"] = random.normal(size=(2, 8)).astype("<f4")
        held[f"{STEM}.1.{part}.lora_B.weight"] = random.normal(size=(out, 2)).astype("<f4")
    return held


def kept(
    place: Path, base: Path, held: dict[str, np.ndarray] | None = None, quantization: str | None = None, **changes: Any
) -> Path:
    """A directory as training writes it, over the checkpoint in `base`."""
    place.mkdir()
    save_file(factors() if held is None else held, place / "adapter_model.safetensors")
    settings = SETTINGS | {"base_model_name_or_path": str(base)} | changes
    (place / "adapter_config.json").write_text(json.dumps(settings))
    marker = {"trained": True, "base": open_checkpoint(str(base)).files, "quantization": quantization}
    (place / "protea_ray.json").write_text(json.dumps(marker))
    return place


def resolved(found: Checkpoint, **fields: Any) -> EmbeddingConfig:
    return resolve(EmbeddingConfig(model=found.model, **fields), found.facts, "cpu", None)


def space(found: Checkpoint, **fields: Any) -> str:
    return space_name(resolved(found, **fields), found.files).rpartition("-")[2]


def message(directory: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(str(directory))
    return str(caught.value)


def test_files_and_space_hold_base_and_adapter(checkpoint: Path, tmp_path: Path) -> None:
    plain, found = open_checkpoint(str(checkpoint)), open_checkpoint(str(kept(tmp_path / "kept", checkpoint)))
    assert found.adapter is not None and found.path == checkpoint and found.model == str(tmp_path / "kept")
    assert found.adapter.scale == 2.0
    weights = (tmp_path / "kept" / "adapter_model.safetensors").read_bytes()
    added = {name: digest for name, digest in found.files.items() if name not in plain.files}
    assert found.files.items() >= plain.files.items() and added.keys() == {"adapter_model.safetensors", "adapter"}
    assert added["adapter_model.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert space(found) != space(plain)


def test_what_scales_the_update_is_in_the_space(checkpoint: Path, tmp_path: Path) -> None:
    one, same, other = (
        open_checkpoint(str(kept(tmp_path / name, checkpoint, lora_alpha=alpha)))
        for name, alpha in (("one", 4.0), ("same", 4), ("other", 8.0))
    )
    assert space(one) == space(same) != space(other)


@pytest.mark.parametrize("kind", ["int4", "hqq:8", "hqq:4", "hqq:3", "hqq:2"])
def test_a_base_in_few_bits_sets_the_recipe(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    found = open_checkpoint(str(kept(tmp_path / "kept", checkpoint, quantization=kind)))
    assert resolved(found).quantization == kind and space(found) == space(found, quantization=kind)
    assert space(found) != space(open_checkpoint(str(kept(tmp_path / "float", checkpoint))), quantization=kind)
    with pytest.raises(ConfigError, match=f"int8 was asked for, but this adapter was trained on {kind}"):
        resolved(found, quantization="int8")


def test_the_bits_of_the_base_are_in_the_identity(checkpoint: Path, tmp_path: Path) -> None:
    kinds = ("int4", "hqq:4", "hqq:2")
    assert len({space(open_checkpoint(str(kept(tmp_path / k[-1:], checkpoint, quantization=k)))) for k in kinds}) == 3


def test_an_adapter_of_the_untrained_model_is_trained(tmp_path: Path) -> None:
    base = write(tmp_path / "base", protea_ray={"trained": False, "trained_residues": 20})
    found = open_checkpoint(str(kept(tmp_path / "kept", base)))
    assert found.trained and not open_checkpoint(str(base)).trained
    assert found.facts.trained_length == 20


def test_another_base_is_refused_with_both_digests(checkpoint: Path, tmp_path: Path) -> None:
    adapter = kept(tmp_path / "kept", checkpoint)
    before = open_checkpoint(str(checkpoint)).files["model.safetensors"]
    write(checkpoint, tensors(seed=1))
    after = open_checkpoint(str(checkpoint)).files["model.safetensors"]
    assert f"(sha256; model.safetensors: trained on {before[:16]}, found {after[:16]})" in message(adapter)


def test_a_moved_base_is_named_anew(checkpoint: Path, tmp_path: Path) -> None:
    adapter = kept(tmp_path / "kept", checkpoint)
    checkpoint.rename(tmp_path / "moved")
    assert "base_model_name_or_path" in message(adapter)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps(settings | {"base_model_name_or_path": str(tmp_path / "moved")})
    )
    assert open_checkpoint(str(adapter)).path == tmp_path / "moved"


def test_an_adapter_of_an_adapter_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    inner, outer = kept(tmp_path / "inner", checkpoint), kept(tmp_path / "outer", checkpoint)
    (outer / "adapter_config.json").write_text(json.dumps(SETTINGS | {"base_model_name_or_path": str(inner)}))
    assert f"is an adapter of the adapter {inner}" in message(outer)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3', not 'LORA'"),
        ({"use_rslora": True}, "use_rslora of adapter_config.json were changed"),
        ({"use_dora": True, "alpha_pattern": {"query": 3}}, "use_dora, alpha_pattern"),
        ({"r": 0}, "r is 0"),
        ({"r": "two"}, "are not complete (ValueError"),
        ({"r": 3}, "do not fit the layers"),
    ],
)
def test_settings_that_mean_another_function_are_refused(
    changes: dict[str, Any], words: str, checkpoint: Path, tmp_path: Path
) -> None:
    assert words in message(kept(tmp_path / "kept", checkpoint, **changes))


def test_factors_that_do_not_fit_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    whole = factors()
    half = {name: tensor for name, tensor in whole.items() if "intermediate.dense.lora_B" not in name}
    head = whole | {f"{STEM}.7.attention.self.query.lora_A.weight": np.zeros((2, 8), "<f4")}
    other = whole | {"base_model.model.lm_head.dense.lora_A.weight": np.zeros((2, 8), "<f4")}
    for name, held, words in (
        ("half", half, "intermediate.dense.lora_B.weight is missing"),
        ("deep", head, "layer.7.attention.self.query"),
        ("head", other, "lm_head.dense.lora_A.weight (2, 8)"),
        ("none", {}, "there are none"),
    ):
        assert words in message(kept(tmp_path / name, checkpoint, held))


def test_weights_that_are_not_finite_or_absent_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    held = factors()
    next(iter(held.values()))[0, 0] = np.nan
    assert "NaN" in message(kept(tmp_path / "nan", checkpoint, held))
    (tmp_path / "nan" / "adapter_model.safetensors").unlink()
    assert "adapter_model.safetensors is missing" in message(tmp_path / "nan")


def test_a_directory_without_our_file_is_another_programs(checkpoint: Path, tmp_path: Path) -> None:
    adapter = kept(tmp_path / "kept", checkpoint)
    (adapter / "protea_ray.json").write_text("[]")
    assert "not a JSON object" in message(adapter)
    (adapter / "protea_ray.json").write_text("{}")
    assert "are not complete (KeyError: 'base')" in message(adapter)
    (adapter / "protea_ray.json").unlink()
    assert "merge_and_unload" in message(adapter)


def test_an_unknown_quantisation_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    for index, kind in enumerate(("int8", "hqq:5", "hqq", 4, ["int4"])):
        told = message(kept(tmp_path / str(index), checkpoint, quantization=kind))
        assert f"{kind!r} is not null or one of int4, hqq:8, hqq:4, hqq:3, hqq:2" in told


def test_digests_are_verified_with_the_adapter(checkpoint: Path, tmp_path: Path) -> None:
    found = open_checkpoint(str(kept(tmp_path / "kept", checkpoint)))
    assert found.adapter is not None
    verify_digests(found.path, found.files, found.adapter.weights)
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: recorded"):
        verify_digests(found.path, found.files)
    held = load_file(found.adapter.weights)
    next(iter(held.values()))[0, 0] += 1
    save_file(held, found.adapter.weights)
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: recorded"):
        verify_digests(found.path, found.files, found.adapter.weights)


def test_a_base_without_adapter_has_the_files_that_it_had(checkpoint: Path) -> None:
    found = open_checkpoint(str(checkpoint))
    assert found.adapter is None and found.files.keys() == {"model.safetensors", "config", "vocabulary"}
