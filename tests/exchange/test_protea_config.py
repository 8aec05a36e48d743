"""Coming from PROTEA: its ids, and every way in which a recipe means something else here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.config.recipe import embedding_config
from protea_ray.errors import ConfigError
from protea_ray.exchange.protea_config import IDENTITY, convert, protea_config_id

RECIPE = {
    "chunk_overlap": 0, "chunk_size": 512, "embedding_scale": 1.0, "layer_agg": "mean", "layer_indices": [0],
    "max_length": 1022, "model_backend": "esm", "model_name": "facebook/esm2_t6_8M_UR50D", "normalize": True,
    "normalize_residues": False, "pooling": "mean", "use_chunking": False,
}  # fmt: skip

# ids that PROTEA itself issued
GOLDEN = {
    ("esm", "facebook/esm2_t30_150M_UR50D"): "336a2bcb-d35e-50c5-ba7e-9ae35f1a1dcb",
    ("esm", "facebook/esm2_t33_650M_UR50D"): "9c4ea46b-c8c9-5cdb-af36-14df75605dd2",
    ("t5", "Rostlab/ProstT5"): "cd00a743-8215-5ce9-8ad3-2846d9f590db",
    ("ankh", "ElnaggarLab/ankh-base"): "e7ba37da-c18d-5261-b5b4-49a3093d9d4d",
}


@pytest.mark.parametrize(("named", "expected"), GOLDEN.items(), ids=[name for _, name in GOLDEN])
def test_ids_that_protea_issued(named: tuple[str, str], expected: str):
    recipe = RECIPE | {"model_backend": named[0], "model_name": named[1]}
    assert protea_config_id(recipe) == expected
    shuffled = dict(reversed(recipe.items())) | {"embedding_scale": 1, "description": "x", "id": "y"}
    assert protea_config_id(shuffled) == expected


OTHER = {
    "chunk_overlap": 1, "chunk_size": 256, "embedding_scale": 2.0, "layer_agg": "last", "layer_indices": [1],
    "max_length": 512, "model_backend": "t5", "model_name": "other", "normalize": False, "normalize_residues": True,
    "pooling": "max", "use_chunking": True,
}  # fmt: skip


@pytest.mark.parametrize("field", IDENTITY)
def test_every_field_is_in_the_id(field: str):
    assert protea_config_id(RECIPE | {field: OTHER[field]}) != protea_config_id(RECIPE)


def test_an_id_is_never_made_from_defaults():
    with pytest.raises(ConfigError) as caught:
        protea_config_id({"model_name": "m"})
    assert len(caught.value.problems) == len(IDENTITY) - 1


def converted(**changes: object):
    return convert(RECIPE | changes)


def note(found, word: str) -> str:
    """The one note that speaks of `word`."""
    (text,) = [text for text in found.notes if word in text]
    return text


def test_the_result_is_a_recipe():
    fields = converted(use_chunking=True, chunk_overlap=64, layer_indices=[2, 0], layer_agg="concat").config_fields
    config = embedding_config(fields)
    assert config.layers == (0, 2)
    assert config.layer_agg == "concat"
    assert (config.chunk_size, config.chunk_overlap, config.chunk_mode) == (512, 64, "posthoc")
    assert (config.on_long, config.family, config.pooling) == ("truncate", "esm2", ("mean",))
    assert (config.normalize, config.normalize_residues) == (True, False)


@pytest.mark.parametrize(
    ("backend", "name", "residues"),
    [
        ("esm", "facebook/esm2_t6_8M_UR50D", 1020),
        ("auto", "facebook/esm2_t6_8M_UR50D", 1020),
        ("esm3c", "esmc_300m", 1022),
        ("t5", "Rostlab/prot_t5_xl_uniref50", 1021),
        ("t5", "Rostlab/ProstT5", 1020),
        ("ankh", "ElnaggarLab/ankh-base", 1021),
    ],
)
def test_max_length_becomes_residues(backend: str, name: str, residues: int):
    found = converted(model_backend=backend, model_name=name)
    assert found.config_fields["max_residues"] == residues
    assert f"max_residues={residues}" in note(found, "max_length 1022")


def test_last_is_the_shallowest_layer_there():
    found = converted(layer_indices=[0, 5, 2], layer_agg="last")
    assert found.config_fields["layers"] == [5]
    text = note(found, "layer_agg=last")
    assert "shallowest" in text
    assert "layers=[0]" in text


def test_last_of_one_layer_is_that_layer():
    found = converted(layer_indices=[3], layer_agg="last")
    assert found.config_fields["layers"] == [3]
    assert "shallowest" not in note(found, "layer_agg=last")


def test_chunks_are_cut_afterwards():
    found = converted(use_chunking=True)
    assert "posthoc" in note(found, "use_chunking")
    assert "chunk_size" not in converted().config_fields


def test_backends_that_mean_something_else():
    assert "esm2" in note(converted(model_backend="auto"), "auto")
    esmc = converted(model_backend="esm3c", model_name="esmc_600m")
    assert esmc.config_fields["model"] == "biohub/ESMC-600M"
    assert esmc.config_fields["family"] == "esmc"
    assert "final norm" in note(esmc, "ESM SDK")


def test_what_is_no_recipe_is_named():
    found = converted(description="x", created_at="y", owner="z")
    assert "owner" in note(found, "left out")
    assert not any("description" in text for text in found.notes)


def test_an_assigned_id_is_told_from_a_derived_one():
    derived = protea_config_id(RECIPE)
    assert derived in note(converted(id="9b2e6a2e-0000-4000-8000-000000000000"), "assigned")
    assert not any("assigned" in text for text in converted(id=derived).notes)


def test_proteas_own_defaults_are_filled_in():
    required = {k: RECIPE[k] for k in ("model_name", "model_backend", "layer_indices", "layer_agg", "pooling")}
    assert convert(required) == convert(RECIPE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding_scale": 20.0}, ["embedding_scale 20.0", "store_dtype float32"]),
        ({"model_backend": "protst"}, ["protst", "esm3c"]),
        ({"model_backend": "t5", "pooling": "cls"}, ["CLS"]),
        ({"max_length": 2}, ["no room"]),
        ({"chunk_overlap": 512}, ["below chunk_size"]),
        ({"layer_indices": []}, ["layer_indices"]),
        ({"layer_indices": [True]}, ["layer_indices"]),
        ({"pooling": ["mean"]}, ["pooling"]),
    ],
)
def test_what_cannot_be_kept_is_refused(changes: dict, words: list[str]):
    with pytest.raises(ConfigError) as caught:
        converted(**changes)
    for word in words:
        assert word in str(caught.value)


def test_all_problems_come_at_once():
    with pytest.raises(ConfigError) as caught:
        converted(model_backend="protst", embedding_scale=2.0, chunk_overlap=600)
    assert len(caught.value.problems) == 3
    with pytest.raises(ConfigError) as caught:
        converted(pooling="median", normalize="yes", max_length=0)
    assert len(caught.value.problems) == 3


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(IDENTITY), VALUES, max_size=4))
def test_only_typed_errors(changes: dict):
    for function in (convert, protea_config_id):
        try:
            function(RECIPE | changes)
        except ConfigError as error:
            assert error.problems
