"""The command that fills a space makes that very space again: its options resolve to the same identity."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from protea_ray.config.identity import identity
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.resolution import ModelFacts, resolve
from protea_ray.store.location import open_location
from protea_ray.store.next_command import embed_command
from tests.store import build

FACTS = ModelFacts("esm2", n_layers=6, has_cls=True, trained_length=1022, gpu_dtype="float16")
FILES = {"model.safetensors": "ab" * 32}
RECIPES = [
    {},
    {"layers": (0, 2), "layer_agg": "concat", "pooling": ("mean", "max")},
    {"on_long": "reject", "max_residues": 400, "normalize": False, "normalize_residues": True},
    {"chunk_size": 100, "chunk_overlap": 10, "chunk_mode": "posthoc", "store_dtype": "float32"},
    {"dtype": "bfloat16", "attention": "local:64", "window_overlap": 32},
]


@pytest.mark.parametrize("fields", RECIPES)
def test_the_options_of_the_command_resolve_to_the_same_identity(tmp_path: Path, fields: dict[str, object]) -> None:
    recipe = resolve(EmbeddingConfig(model="models/my esm", **fields), FACTS, "cpu", None)  # type: ignore[arg-type]
    info = build.info(identity=identity(recipe, FILES), checkpoint={"model": recipe.model, "revision": None})
    location = open_location(tmp_path)
    words = shlex.split(embed_command(location, info, ["/in/a b.fasta"]))
    assert words[:4] == ["protea-ray", "embed", "/in/a b.fasta", location.uri]
    again = resolve(EmbeddingConfig(**given(words[4:])), FACTS, "cpu", None)  # type: ignore[arg-type]
    assert identity(again, FILES) == identity(recipe, FILES)


def given(options: list[str]) -> dict[str, object]:
    """Options as fields: lists are written with commas, a switch has no value."""
    fields: dict[str, object] = {}
    for word in options:
        if word.startswith("--"):
            name = word[2:].replace("-", "_")
            fields |= {name.removeprefix("no_"): not name.startswith("no_")}
        else:
            last = list(fields)[-1]
            fields[last] = tuple(word.split(",")) if last in ("layers", "pooling") else word
    return fields


def test_an_imported_space_and_unknown_inputs(tmp_path: Path) -> None:
    location = open_location(tmp_path)
    assert embed_command(location, build.info(imported=True), ["/in/a.fasta"]) == f"protea-ray import FILE {tmp_path}"
    assert embed_command(location, build.info(), []).startswith(f"protea-ray embed INPUT {tmp_path} --model m")
