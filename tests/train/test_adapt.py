"""A model that goes on with longer proteins: its attention is in the plan, in its marker, and what `embed` takes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protea_ray.config.training import TrainingConfig, training_config
from protea_ray.encoder.in_memory import embed_dataset
from protea_ray.errors import CheckpointError, ConfigError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.testing.random_checkpoint import build
from protea_ray.train.own_attention import settled
from tests.train.runs import newest, recipe, same, train

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKAL"
SMALL = {
    "crop": 40,
    "pack_tokens": 96,
    "step_tokens": 384,
    "tokens": 3 * 384,
    "dtype": "float32",
    "validation_every": 3,
}


def adapted(model: Path, **fields: Any) -> TrainingConfig:
    """Three steps of the recipe for longer proteins, at the scale of a test."""
    return training_config({"model": str(model), "adapt": True, **SMALL, **fields})


def marker(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "config.json").read_text())["protea_ray"]


def planned(out: Path) -> str:
    return json.loads((out / "plan.json").read_text())["config"]["attention"]


def vector(model: Path, **fields: Any) -> np.ndarray:
    torch.set_num_threads(1)
    return embed_dataset([SEQUENCE], model, **fields)[SEQUENCE]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("esm2", tmp_path_factory.mktemp("base") / "esm2", layers=2, hidden=32)


@pytest.fixture(scope="module")
def near(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a run that was adapted to attend to 5 residues on each side."""
    out = tmp_path_factory.mktemp("near") / "out"
    train(adapted(base, attention="local:5"), out)
    return out


def test_an_adapted_model_embeds_by_its_own_attention(near: Path, base: Path) -> None:
    model = near / "model"
    facts = open_checkpoint(str(model)).facts

    assert (facts.attention, facts.trained_length) == (marker(model)["attention"], 1022) == ("local:5", 1022)
    assert marker(model)["parent"]["files"] == open_checkpoint(str(base)).files
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = vector(model)
        assert np.array_equal(own, vector(model, attention="local:5"))
    with pytest.warns(UserWarning, match="was trained with attention local:5, and exact is used"):
        exact = vector(model, attention="exact")
    assert np.abs(own - exact).max() > 1e-3


def test_the_longest_stretch_is_in_the_marker(base: Path, tmp_path: Path) -> None:
    train(adapted(base, crop=1_100, pack_tokens=1_200, step_tokens=1_200, tokens=3 * 1_200), tmp_path / "out")
    facts = open_checkpoint(str(tmp_path / "out" / "model")).facts
    assert (facts.attention, facts.trained_length) == ("local:512", 1_100)


def test_training_goes_on_with_the_models_own_attention(near: Path, tmp_path: Path) -> None:
    model, fields = near / "model", {**SMALL, "model": str(near / "model")}
    train(training_config(fields), tmp_path / "unset")
    train(training_config({**fields, "attention": "local:5"}), tmp_path / "given")
    train(training_config({**fields, "attention": "exact"}), tmp_path / "exact")

    assert [planned(tmp_path / name) for name in ("unset", "given", "exact")] == ["local:5", "local:5", "exact"]
    assert same(newest(tmp_path / "unset"), newest(tmp_path / "given"))
    assert not same(newest(tmp_path / "unset"), newest(tmp_path / "exact"))
    assert open_checkpoint(str(model)).facts.attention == "local:5"


def test_fresh_weights_and_published_models_attend_exactly(base: Path, tmp_path: Path) -> None:
    assert settled(recipe(tmp_path)).attention == "exact"
    assert settled(training_config({"model": str(base)})).attention == "exact"
    assert settled(adapted(base)).attention == "local:512"
    with pytest.raises(CheckpointError, match="nowhere"):
        settled(training_config({"model": str(tmp_path / "nowhere")}))


def test_a_run_goes_on_whether_its_attention_is_given_or_not(base: Path, tmp_path: Path) -> None:
    asked = training_config({"model": str(base), **SMALL})
    train(asked, tmp_path / "out")
    whole = newest(tmp_path / "out")
    before = whole.stat().st_mtime_ns
    train(asked.model_copy(update={"attention": "exact"}), tmp_path / "out")
    assert newest(tmp_path / "out").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match=r'attention: "exact" there, "local:7" now'):
        train(asked.model_copy(update={"attention": "local:7"}), tmp_path / "out")


def test_a_run_that_began_before_models_had_an_attention_goes_on(near: Path, tmp_path: Path) -> None:
    """Its plan says exact, because that was the default, although its model was trained otherwise."""
    asked = training_config({**SMALL, "model": str(near / "model")})
    train(asked.model_copy(update={"attention": "exact"}), tmp_path / "old")
    assert train(asked, tmp_path / "old").stopped is None
    assert planned(tmp_path / "old") == "exact"
    assert settled(asked, tmp_path / "old").attention == "exact"
    assert settled(asked, tmp_path / "new").attention == "local:5"


def test_an_adapted_run_that_is_stopped_goes_on_to_the_same_bits(base: Path, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(event: Any) -> None:
        if event["kind"] == "validation" and event["step"] == 2:
            raise StoppedError

    config = adapted(base, attention="local:5", validation_every=2, tokens=4 * 384)
    train(config, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(config, tmp_path / "halves", stop)
    train(config, tmp_path / "halves")
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "halves"))


@pytest.mark.parametrize("adapter", ["lora", "qlora"])
def test_an_adapter_brings_its_attention_too(adapter: str, base: Path, tmp_path: Path) -> None:
    train(adapted(base, attention="local:5", adapter=adapter, lora_rank=4), tmp_path / "out")
    for directory in (tmp_path / "out" / "model", newest(tmp_path / "out")):
        assert open_checkpoint(str(directory)).facts.attention == "local:5"
    kept = newest(tmp_path / "out")
    assert settled(training_config({"model": str(kept)})).attention == "local:5"
