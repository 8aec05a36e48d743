"""EmbeddingConfig: what it accepts, that all mistakes come at once, and what a checkpoint and a device fill in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.config.recipe import EmbeddingConfig, embedding_config
from protea_ray.config.resolution import ModelFacts, attention_notes, resolve
from protea_ray.errors import ConfigError
from tests.exchange.test_protea_config import VALUES

ESM2 = ModelFacts("esm2", 6, True, 1022, "float16", has_rotary=True)
T5 = ModelFacts("t5", 24, False, None, "bfloat16")


def config(**fields: object) -> EmbeddingConfig:
    return embedding_config({"model": "lab/tiny"} | fields)


def problems(**fields: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        embedding_config(fields)
    return caught.value.problems


def test_defaults_are_the_documented_ones():
    assert config().model_dump() == {
        "model": "lab/tiny", "revision": None, "family": "auto", "layers": (0,), "layer_agg": "mean",
        "pooling": ("mean",), "normalize_residues": False, "normalize": True, "max_residues": None,
        "on_long": "window", "window_overlap": 256, "chunk_size": None, "chunk_overlap": 0,
        "chunk_mode": "independent", "dtype": None, "store_dtype": "float16", "attention": None,
        "rope": "none", "stitch": "owner", "quantization": None, "outputs": ("embeddings",), "alphabet": None,
    }  # fmt: skip


MISTAKES = {
    "revision": "main", "layers": (), "layer_agg": "median", "pooling": (), "max_residues": 0, "on_long": "cut",
    "window_overlap": -1, "chunk_size": 0, "chunk_overlap": -1, "chunk_mode": "x", "dtype": "float8",
    "store_dtype": "int8", "attention": "local:0", "rope": "yarn", "stitch": "mean", "quantization": "int2",
    "outputs": ["maps"], "alphabet": "dna", "colour": 1,
}  # fmt: skip


@pytest.mark.parametrize("field", MISTAKES)
def test_each_mistake_is_found(field: str):
    (problem,) = problems(model="m", **{field: MISTAKES[field]})
    assert field in problem


def test_all_mistakes_come_at_once():
    found = problems(model=" ", **MISTAKES)
    assert len(found) == len(MISTAKES) + 1
    for field in ("model", *MISTAKES):
        assert any(field in problem for problem in found)


def test_all_overlaps_come_at_once():
    (found,) = problems(model="m", window_overlap=300, max_residues=300, chunk_overlap=3)
    assert "window_overlap 300 must be below max_residues 300" in found
    assert "chunk_overlap 3 needs a chunk_size" in found


def test_it_is_a_value_error_of_exit_code_2():
    with pytest.raises(ValueError) as caught:
        embedding_config({})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["", "  ", "x" * 513])
def test_names_of_models(name: str):
    assert len(problems(model=name)) == 1


def test_layers_and_poolings_are_sets_in_one_order():
    assert config(layers=[3, 0, 3, 1]).layers == (0, 1, 3)
    assert config(pooling=["none", "cls", "mean", "cls"]).pooling == ("mean", "cls", "none")


def test_outputs_are_a_set_that_has_embeddings():
    assert config(outputs=["logits", "embeddings", "logits"]).outputs == ("embeddings", "logits")
    assert (config().keeps_logits, config(outputs=["embeddings", "logits"]).keeps_logits) == (False, True)
    for outputs in (["logits"], []):
        assert "embeddings,logits" in problems(model="m", outputs=outputs)[0]


def test_negative_layers_say_how_to_count():
    (found,) = problems(model="m", layers=[0, -2])
    assert "0 = last" in found


def test_overlap_matters_only_where_windows_are_cut():
    for on_long in ("truncate", "reject"):
        assert config(max_residues=100, on_long=on_long).window_overlap == 256
    assert problems(model="m", max_residues=100, on_long="window")


@pytest.mark.parametrize(
    ("layers", "aggregation", "expected"), [([0], "mean", 8), ([0, 1, 2], "mean", 8), ([0, 1, 2], "concat", 24)]
)
def test_widths(layers: list[int], aggregation: str, expected: int):
    made = config(layers=layers, layer_agg=aggregation, pooling=["mean", "mean_max", "none"])
    assert made.widths(8) == {"mean": expected, "mean_max": 2 * expected}
    assert made.keeps_residues is True
    assert made.pooled == ("mean", "mean_max")


def test_attention_variant():
    assert config().variant.window == -1
    assert config(attention="local:1024").variant.window == 1024


def test_frozen():
    with pytest.raises(ValueError, match="frozen"):
        config().model = "other"  # type: ignore[misc]


@given(st.dictionaries(st.sampled_from(sorted(EmbeddingConfig.model_fields)) | st.text(max_size=4), VALUES, max_size=5))
def test_only_typed_errors(fields: dict):
    try:
        embedding_config(fields)
    except ConfigError as error:
        assert error.problems


# --- resolve -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "device", "dtype", "length"),
    [
        (ESM2, "cpu", "float32", 1022),
        (ESM2, "cuda", "float16", 1022),
        (T5, "cpu", "float32", None),
        (T5, "cuda", "bfloat16", None),
    ],
)
def test_the_checkpoint_and_the_device_decide(facts: ModelFacts, device: str, dtype: str, length: int | None):
    made = resolve(config(), facts, device, "a" * 40)
    assert (made.family, made.dtype, made.max_residues, made.revision) == (facts.family, dtype, length, "a" * 40)


def test_what_was_asked_for_stays():
    made = resolve(config(dtype="bfloat16", max_residues=500, family="esm2"), ESM2, "cuda", None)
    assert (made.dtype, made.max_residues) == ("bfloat16", 500)


def test_resolving_twice_changes_nothing():
    once = resolve(config(), ESM2, "cuda", None)
    assert resolve(once, ESM2, "cuda", None) == once


def test_the_deepest_layer_is_the_embedding():
    assert resolve(config(layers=[6]), ESM2, "cpu", None).layers == (6,)
    with pytest.raises(ConfigError, match="7 is deeper than the model, which has 6 layers"):
        resolve(config(layers=[7]), ESM2, "cpu", None)


def test_misfits_come_at_once():
    asked = config(layers=[25], pooling=["cls"], family="esm2", dtype="float16", outputs=["embeddings", "logits"])
    with pytest.raises(ConfigError) as caught:
        resolve(asked, T5, "cpu", None)
    for word in ("layers", "pooling", "family", "dtype", "outputs"):
        assert any(problem.startswith(word) for problem in caught.value.problems)
    assert len(caught.value.problems) == 5


def test_the_trained_length_must_leave_room_for_the_overlap():
    short = ModelFacts("esm2", 6, True, 200, "float16")
    with pytest.raises(ConfigError, match="window_overlap 256 must be below max_residues 200"):
        resolve(config(), short, "cpu", None)


def test_overlaps_are_told_together_with_other_mistakes():
    assert len(problems(model="m", chunk_size=4, chunk_overlap=4, colour=1)) == 2


def test_structure_letters_need_a_checkpoint_that_has_them():
    prostt5 = ModelFacts("t5", 24, False, None, "bfloat16", reads_3di=True)
    assert [resolve(config(alphabet=a), prostt5, "cpu", None).alphabet for a in (None, "aa", "3di")] == [
        "aa", "aa", "3di",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"no tokens for 3di.*ProstT5 has"):
        resolve(config(alphabet="3di"), T5, "cpu", None)


@pytest.mark.parametrize(
    ("rope", "length"),
    [("none", 1022), ("linear:1", 1022), ("yarn:1.5", 1533), ("ntk:2.3", 2350), ("linear:34.46", 35218)],
)
def test_a_stretch_raises_the_longest_window(rope: str, length: int):
    assert resolve(config(rope=rope), ESM2, "cpu", None).max_residues == length
    assert resolve(config(rope=rope, max_residues=700), ESM2, "cpu", None).max_residues == 700


def test_the_stretched_length_is_computed_in_decimals():
    facts = replace(ESM2, trained_length=1000)
    assert resolve(config(rope="yarn:2.01"), facts, "cpu", None).max_residues == 2010 > 2.01 * 1000


def test_the_stretched_length_leaves_room_for_the_overlap():
    short = replace(ESM2, trained_length=200)
    assert resolve(config(rope="ntk:2"), short, "cpu", None).max_residues == 400
    with pytest.raises(ConfigError, match="window_overlap 256 must be below max_residues 240"):
        resolve(config(rope="ntk:1.2"), short, "cpu", None)


def test_positions_that_are_not_rotary_cannot_be_stretched():
    unknown = replace(ESM2, family="plugin", trained_length=None)
    for facts, lacks in ((T5, "t5 checkpoint has no rotary"), (unknown, "plugin checkpoint has no trained length")):
        assert resolve(config(rope="none"), facts, "cpu", None).max_residues is None
        with pytest.raises(ConfigError, match=rf"rope: yarn:2 was asked for.*{lacks}.*Use rope none"):
            resolve(config(rope="yarn:2"), facts, "cpu", None)


# --- windows that are averaged, and a model's own attention --------------------------------------------------------


def test_averaged_windows_lie_end_to_end():
    made = config(stitch="average")
    assert made.window_overlap == 0
    assert config().window_overlap == config(stitch="owner").window_overlap == 256
    assert EmbeddingConfig(**made.model_dump(mode="json")) == made


def test_what_has_no_meaning_for_averaged_windows_is_refused_at_once():
    found = problems(
        model="m", stitch="average", on_long="truncate", window_overlap=64, chunk_size=100, pooling=["none"],
        outputs=["embeddings", "logits"],
    )  # fmt: skip
    text = "\n".join(found)
    for word in ("on_long truncate", "window_overlap 64", "chunk_size", "pooling none", "outputs logits"):
        assert f"stitch average does not go with {word}" in text


def test_averaging_needs_a_length_of_windows():
    with pytest.raises(ConfigError, match=r"stitch: t5 takes a protein in one window; give max_residues"):
        resolve(config(stitch="average"), T5, "cpu", None)
    assert resolve(config(stitch="average", max_residues=500), T5, "cpu", None).max_residues == 500
    assert resolve(config(stitch="average"), ESM2, "cpu", None).max_residues == 1022


def test_a_model_that_was_trained_here_brings_its_attention():
    own = ModelFacts("esm2", 6, True, 2048, "float16", attention="local:512")
    assert [resolve(config(attention=a), own, "cpu", None).attention for a in (None, "exact", "local:512")] == [
        "local:512", "exact", "local:512",
    ]  # fmt: skip
    assert resolve(config(), ESM2, "cpu", None).attention == "exact"


def test_another_attention_than_the_models_own_is_noted():
    own = ModelFacts("esm2", 6, True, 2048, "float16", attention="local:512")
    notes = [
        attention_notes(resolve(config(attention=a), own, "cpu", None), own) for a in (None, "exact", "global:512")
    ]
    assert [len(note) for note in notes] == [0, 1, 1]
    assert "was trained with attention local:512, and exact is used: another function" in notes[1][0]
    assert attention_notes(resolve(config(attention="local:64"), ESM2, "cpu", None), ESM2) == []
