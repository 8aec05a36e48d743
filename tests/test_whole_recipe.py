"""An EmbeddingConfig is taken wherever a model or a recipe is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import protea_ray
from protea_ray import EmbeddingConfig
from protea_ray.config.run import RunConfig, run_config
from protea_ray.encoder.in_memory import embed_dataset
from protea_ray.errors import ConfigError

LETTERS = ["MKTAYIAKQR", "GIVEQCCTSI"]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """What the pipeline was asked to do."""
    from protea_ray.pipeline import embed as pipeline

    configs: list[RunConfig] = []
    monkeypatch.setattr(pipeline, "embed", lambda inputs, store, config, report: configs.append(config))
    return configs


def test_embed_takes_one_as_model_and_several_as_recipes(taken: list[RunConfig], tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">a\nMKT\n")
    whole = EmbeddingConfig(model="lab/m", layers=(1,), pooling=("max",))
    given: list[dict[str, Any]] = [
        {"model": whole},
        {"model": whole, "pooling": "mean"},
        {"recipes": [whole, EmbeddingConfig(model="lab/m", pooling=("std",))]},
    ]
    for arguments in given:
        protea_ray.embed(tmp_path / "a.fasta", tmp_path / "s", **arguments)
    assert [config.recipes for config in taken] == [
        (whole,),
        (EmbeddingConfig(model="lab/m", layers=(1,), pooling=("mean",)),),
        (whole, EmbeddingConfig(model="lab/m", pooling=("std",))),
    ]


def test_only_what_was_given_wins_over_an_earlier_recipe() -> None:
    """`reembed` inherits what is left out, and a default is what is left out."""
    config = run_config({"layers": [2], "model": "x", "recipes": [EmbeddingConfig(model="lab/m", pooling=("max",))]})
    assert config.recipes == (EmbeddingConfig(model="lab/m", layers=(2,), pooling=("max",)),)
    with pytest.raises(ConfigError, match=r"recipes\[0\]: must be a mapping"):
        run_config({"model": "m", "recipes": ["max"]})


def test_embed_dataset_takes_one(esm2: Path) -> None:
    whole = EmbeddingConfig(model=str(esm2), layers=(1,), pooling=("max",), store_dtype="float16", normalize=True)
    spelt = {"layers": [1], "pooling_types": ["max"], "embed_dtype": "float16", "normalize": True}
    for one, other in zip(
        embed_dataset(LETTERS, whole).values(), embed_dataset(LETTERS, esm2, **spelt).values(), strict=True
    ):
        assert one.dtype == other.dtype == np.float16
        assert np.array_equal(one, other)
    residues = embed_dataset(LETTERS, EmbeddingConfig(model=str(esm2), pooling=("none",)))
    assert residues[LETTERS[0]].shape == (10, 32)
    with pytest.raises(ConfigError, match="chunk_size"):
        embed_dataset(LETTERS, EmbeddingConfig(model=str(esm2), chunk_size=4))
