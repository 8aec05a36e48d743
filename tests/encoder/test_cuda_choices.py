"""Where an encoder of this process runs, and in which dtype, by what was asked for and what the machine has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import open_checkpoint


def machine(monkeypatch: pytest.MonkeyPatch, has_gpu: bool) -> None:
    """A machine with or without a GPU, on which loading an encoder gives the device and the dtype."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)

    def loaded(directory: Path, family: Any, recipes: Any, *, device: str, **_: Any) -> tuple[str, str]:
        return device, recipes[0].dtype

    monkeypatch.setattr(Encoder, "load", loaded)


@pytest.mark.parametrize(
    ("asked", "has_gpu", "device", "dtype"),
    [
        ("auto", True, "cuda", "float16"),
        ("cuda", True, "cuda", "float16"),
        ("cuda:1", True, "cuda:1", "float16"),
        ("cpu", True, "cpu", "float32"),
        ("auto", False, "cpu", "float32"),
        ("cpu", False, "cpu", "float32"),
    ],
)
def test_device_and_dtype_of_an_encoder_here(
    asked: str, has_gpu: bool, device: str, dtype: str, esm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` prefers a GPU; there ESM-2 is computed in float16, on a CPU in float32."""
    machine(monkeypatch, has_gpu)
    config = EmbeddingConfig.model_validate({"model": str(esm2)})
    assert encoder_here(open_checkpoint(str(esm2)), config, asked) == (device, dtype)


@pytest.mark.parametrize("asked", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_here_is_refused_before_weights_are_read(
    asked: str, esm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, False)
    with pytest.raises(ConfigError, match="this machine has no CUDA device; use cpu or auto"):
        encoder_here(open_checkpoint(str(esm2)), EmbeddingConfig.model_validate({"model": str(esm2)}), asked)


def test_the_peak_of_a_gpu_is_torchs_own_and_a_cpu_has_none(esm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = open_checkpoint(str(esm2))
    encoder = encoder_here(found, EmbeddingConfig(model=str(esm2)), device="cpu")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: {"cuda:0": 4321}[str(device)])
    assert encoder.peak_gpu_memory == 0
    encoder.core = replace(encoder.core, device=torch.device("cuda:0"))
    assert encoder.peak_gpu_memory == 4321
