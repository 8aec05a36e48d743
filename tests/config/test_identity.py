"""The name of a space: every field that changes numbers is in it, and nothing else."""

from __future__ import annotations

import hashlib
import json

import pytest

from protea_ray.config.identity import canonical_json, identity, space_name
from protea_ray.config.recipe import EmbeddingConfig, embedding_config
from protea_ray.config.resolution import ModelFacts, resolve

FACTS = ModelFacts("esm2", 6, True, 1022, "float16", has_lm_head=True, reads_3di=True, has_rotary=True)
FILES = {"model.safetensors": "a" * 64, "config": "b" * 64, "vocabulary": "c" * 64}
ASKED = {"model": "lab/tiny", "layers": [0, 1], "chunk_size": 100, "chunk_overlap": 10}


def resolved(device: str = "cpu", revision: str | None = None, **fields: object) -> EmbeddingConfig:
    return resolve(embedding_config(ASKED | fields), FACTS, device, revision)


def name(**fields: object) -> str:
    return space_name(resolved(**fields), FILES)  # type: ignore[arg-type]


CHANGES = {
    "layers": [0], "layer_agg": "concat", "pooling": ["max"], "normalize_residues": True, "normalize": False,
    "max_residues": 500, "on_long": "truncate", "window_overlap": 100, "chunk_size": 99, "chunk_overlap": 9,
    "chunk_mode": "posthoc", "dtype": "bfloat16", "store_dtype": "float32", "attention": "local:64",
    "quantization": "int8", "outputs": ["embeddings", "logits"], "alphabet": "3di", "rope": "yarn:2",
    "stitch": "average",
}  # fmt: skip
BESIDE = {"stitch": {"chunk_size": None, "chunk_overlap": 0, "window_overlap": 0}}


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_that_changes_numbers_changes_the_name(field: str):
    beside = BESIDE.get(field, {})
    assert name(**beside, **{field: CHANGES[field]}) != name(**beside)


def test_every_field_is_either_numbers_or_provenance():
    numbers = {*CHANGES, "family"}
    assert set(EmbeddingConfig.model_fields) - numbers == {"model", "revision"}


@pytest.mark.parametrize("file", FILES)
def test_a_digest_changes_the_name(file: str):
    assert space_name(resolved(), FILES | {file: "d" * 64}) != name()


def test_where_the_weights_came_from_does_not():
    from_disk = space_name(resolved(model="/models/tiny/"), FILES)
    from_hub = space_name(resolved(model="lab/tiny", revision="e" * 40), dict(reversed(FILES.items())))
    assert from_disk == from_hub == name()


def test_spelling_out_a_default_does_not():
    assert name(max_residues=1022, family="esm2", dtype="float32") == name()
    assert name(layers=[1, 0, 1]) == name()
    assert name(attention="exact", rope="none", stitch="owner") == name()
    assert name(rope="yarn:2.0", max_residues=2044) == name(rope="yarn:2") != name(rope="yarn:2", max_residues=1022)
    assert name(alphabet="aa") == name() == space_name(resolved().model_copy(update={"alphabet": None}), FILES)


@pytest.mark.parametrize(
    ("fixed", "idle"),
    [
        ({"on_long": "truncate"}, {"window_overlap": 100}),
        ({"layers": [0]}, {"layer_agg": "last"}),
        ({"chunk_size": None, "chunk_overlap": 0}, {"chunk_mode": "posthoc"}),
    ],
)
def test_a_knob_that_is_out_of_play_does_not(fixed: dict, idle: dict):
    assert name(**fixed, **idle) == name(**fixed)


def test_a_device_changes_it_only_by_its_precision():
    assert name(device="cuda", dtype="float32") == name()
    assert name(device="cuda") != name()


def test_the_name_is_a_hash_that_anyone_can_recompute():
    fields = {
        "family": "esm2", "layers": [0, 1], "layer_agg": "mean", "pooling": ["mean"], "normalize_residues": False,
        "normalize": True, "max_residues": 1022, "on_long": "window", "window_overlap": 256, "chunk_size": 100,
        "chunk_overlap": 10, "chunk_mode": "independent", "dtype": "float32", "store_dtype": "float16",
        "attention": "exact", "quantization": None,
    }  # fmt: skip
    text = json.dumps({"config": fields, "files": FILES}, sort_keys=True, separators=(",", ":"))
    assert name() == "tiny-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    assert canonical_json(identity(resolved(), FILES)) == text


@pytest.mark.parametrize("model", ["../..", "/", "a/b c!d", "ü" * 200, "x" * 500, "..hidden.."])
def test_names_are_safe_as_tables(model: str):
    made = name(model=model)
    assert made.isascii()
    assert "/" not in made
    assert not made.startswith(".")
    assert len(made) <= 89
