from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import flex_attention as flex_module

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.resolution import resolve
from protea_ray.encoder import flex
from protea_ray.encoder.encoder import Encoder
from protea_ray.models.families import recognise
from protea_ray.models.families.vocabulary import read_vocabulary
from protea_ray.models.weights import read_headers
from protea_ray.testing.random_checkpoint import build
from tests.encoder.fake_cuda import FakeGpu, fake_gpu
from tests.encoder.reference import Reference

ALL_LETTERS = "ACDEFGHIKLMNPQRSTVWYUZOBXJ"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A random checkpoint of a family, built once."""
    return cache(lambda family: build(family, tmp_path_factory.mktemp(family) / "model"))


@pytest.fixture(scope="session")
def reference(checkpoint: Callable[[str], Path]) -> Callable[[str], Reference]:
    """The plain transformers model of the same checkpoint."""
    return cache(lambda family: Reference(family, checkpoint(family)))


@pytest.fixture(scope="session")
def encoder(checkpoint: Callable[[str], Path]) -> Callable[..., Encoder]:
    """An encoder under recipes given as dicts of fields."""

    def make(family: str, *recipes: dict[str, Any], **options: Any) -> Encoder:
        return load(checkpoint(family), *recipes, **options)

    return make


def load(directory: Path, *recipes: dict[str, Any], **options: Any) -> Encoder:
    """The production path: recognise, resolve, load."""
    config = json.loads((directory / "config.json").read_text())
    family = recognise(config, directory)
    tensors = {tensor.name for held in read_headers(directory).values() for tensor in held}
    facts = family.facts(config, tensors, read_vocabulary(directory))
    made = [EmbeddingConfig(model=str(directory), **{"store_dtype": "float32"} | fields) for fields in recipes]
    kind = options.get("device", "cpu").partition(":")[0]
    resolved = [resolve(recipe, facts, kind, None) for recipe in made]
    return Encoder.load(directory, family, resolved, **options)


def proteins(*lengths: int, seed: int = 0, letters: str = ALL_LETTERS) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(letters, k=length)) for length in lengths]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """A GPU of fake tensors, on which flex runs as it is written, without a compiler."""
    monkeypatch.setattr(flex_module, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)  # no dynamo inside of a mode
    monkeypatch.setattr(flex, "_compiled_flex", lambda: flex_module.flex_attention)
    with fake_gpu(monkeypatch) as made:
        yield made
