"""A space that was computed on a GPU, searched here: the precision of the queries follows the device."""

from __future__ import annotations

import logging

import pytest
import torch

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.query.own_recipe import on_this_device


@pytest.mark.parametrize(
    ("dtype", "device", "gpu", "used"),
    [
        ("float16", "auto", True, "float16"),
        ("float16", "cuda", True, "float16"),
        ("float16", "cpu", True, "float32"),
        ("float16", "auto", False, "float32"),
        ("bfloat16", "cpu", False, "bfloat16"),
        ("float32", "cpu", False, "float32"),
    ],
)
def test_half_precision_of_a_gpu_becomes_single_precision_on_a_cpu_and_is_said(
    dtype: str, device: str, gpu: bool, used: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    recipe = EmbeddingConfig.model_validate({"model": "lab/m", "dtype": dtype})

    with caplog.at_level(logging.WARNING, "protea_ray"):
        chosen = on_this_device(recipe, device, "m-12345678")

    assert chosen.dtype == used
    assert chosen.model_dump(exclude={"dtype"}) == recipe.model_dump(exclude={"dtype"})
    assert ("computed now is in float32" in caplog.text) == (used != dtype)
