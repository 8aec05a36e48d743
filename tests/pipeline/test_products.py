"""What `run.products` asks for reaches the encoder that an actor loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.config.recipe import embedding_config
from protea_ray.config.resolution import resolve
from protea_ray.config.run import run_config
from protea_ray.encoder.acceleration import TORCH, OneDnnLinear, choose_product
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.models.untrained import MODEL_NAME
from protea_ray.pipeline.embed import Setting
from protea_ray.store.location import open_location


@pytest.mark.parametrize("asked", ["auto", "torch"])
def test_products_are_those_that_the_run_asks_for(asked: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(None)
    recipe = resolve(embedding_config({"model": MODEL_NAME}), checkpoint.facts, "cpu", None)
    options = run_config({"model": MODEL_NAME, "run": {"products": asked}}).run
    setting = Setting(open_location(str(tmp_path)), checkpoint, (recipe,), options, "cpu", "run")

    encoder = setting.encoder.load([recipe])

    expected = TORCH if asked == "torch" else choose_product("cpu").name
    assert encoder.products.name == expected
    found = any(isinstance(part, OneDnnLinear) for part in encoder.module.modules())
    assert found == (expected != TORCH)


def test_products_that_cannot_be_asked_for_are_named() -> None:
    with pytest.raises(ConfigError, match=r"run\.products"):
        run_config({"model": MODEL_NAME, "run": {"products": "mkl"}})
