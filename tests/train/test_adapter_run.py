"""A run with an adapter trains it alone, resumes to the same bits, and ends in a directory that embeds."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import ConfigError, EncoderError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.testing.random_checkpoint import build
from tests.train.runs import newest, recipe, train


class KilledError(BaseException):
    """Ends a run without any of its own clean-up."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("esm2", tmp_path_factory.mktemp("base") / "esm2", layers=2, hidden=64)


def fields(base: Path, adapter: str, **more: Any) -> dict[str, Any]:
    rank = {} if adapter == "none" else {"lora_rank": 4}
    given = {"shape": None, "model": str(base), "adapter": adapter, "learning_rate": 0.02, "weight_decay": 0.0}
    return given | rank | more


def vector(directory: Path) -> torch.Tensor:
    found = open_checkpoint(str(directory))
    (result,) = encoder_here(found, EmbeddingConfig.model_validate({"model": str(directory)}), "cpu").embed(
        ["MKTAYIAKQ"]
    )
    assert isinstance(result, Embedded)
    return torch.from_numpy(result.pooled["mean"].astype("f4"))


def test_lora_ends_in_a_merged_model_and_resumes_to_the_same_bits(base: Path, tmp_path: Path) -> None:
    config = recipe(tmp_path, **fields(base, "lora", ema=0.9))

    def kill(event: Mapping[str, Any]) -> None:
        if event["kind"] == "validation" and event["step"] >= 10:
            raise KilledError

    train(config, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(config, tmp_path / "halves", kill)
    done = train(config, tmp_path / "halves")

    assert done.stopped is None
    one, other = (load_file(newest(tmp_path / o) / "adapter_model.safetensors") for o in ("whole", "halves"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert len(one) == 2 * 3 * 2 and all(value.any() for value in one.values())
    model = open_checkpoint(str(tmp_path / "halves" / "model"))
    marker = json.loads((model.path / "config.json").read_text())["protea_ray"]
    assert model.adapter is None and marker["parent"]["files"] == open_checkpoint(str(base)).files
    best = tmp_path / "halves" / json.loads((tmp_path / "halves" / "best.json").read_text())["directory"]
    assert (vector(model.path) - vector(best)).abs().max() < 1e-5
    assert (vector(model.path) - vector(base)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", [None, "hqq:2"])
def test_qlora_ends_in_a_kept_adapter(kind: str | None, base: Path, tmp_path: Path) -> None:
    train(recipe(tmp_path, **fields(base, "qlora", quantization=kind)), tmp_path / "out")

    model = open_checkpoint(str(tmp_path / "out" / "model"))
    assert model.adapter is not None and model.facts.quantization == (kind or "int4") and model.path == base
    assert model.facts.trained_length == 1022 and model.adapter.marker["trained_residues"] == 1022
    assert (vector(tmp_path / "out" / "model") - vector(base)).abs().max() > 1e-3


def test_a_mistake_is_told_before_a_plan_is_written(base: Path, tmp_path: Path) -> None:
    for wrong, words in (({"lora_rank": 65}, "lora_rank: 65"), ({"lora_targets": ("quary",)}, "no quary")):
        with pytest.raises(ConfigError, match=words):
            train(recipe(tmp_path, **fields(base, "lora") | wrong), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    train(recipe(tmp_path, **fields(base, "qlora")), tmp_path / "kept")
    with pytest.raises(ConfigError, match="is an adapter kept beside its base; merge it"):
        train(recipe(tmp_path, **fields(tmp_path / "kept" / "model", "none")), tmp_path / "out")


def test_a_run_resumes_on_the_same_bits_only(base: Path, tmp_path: Path) -> None:
    """A plan from before the field has none, and goes on as the int4 that it was."""
    train(recipe(tmp_path, **fields(base, "qlora")), tmp_path / "out")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert "quantization" not in plan["config"]
    assert train(recipe(tmp_path, **fields(base, "qlora")), tmp_path / "out").stopped is None
    with pytest.raises(ConfigError, match=r'quantization: null there, "hqq:3" now'):
        train(recipe(tmp_path, **fields(base, "qlora", quantization="hqq:3")), tmp_path / "out")


def test_a_missing_package_is_told_before_a_plan_is_written(base: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "hqq.core.quantize", None)
    with pytest.raises(EncoderError, match=r"hqq:4 needs hqq.*pip install protea-ray\[sweep\]"):
        train(recipe(tmp_path, **fields(base, "qlora", quantization="hqq:4")), tmp_path / "out")
    assert not (tmp_path / "out").exists()
