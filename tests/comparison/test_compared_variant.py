"""The grammar of a compared variant: every part, what is implied, and mistakes that are said together."""

from __future__ import annotations

from typing import Any

import pytest

from protea_ray.comparison.compared_variant import (
    UNCUT,
    compared_variant,
    compared_variants,
    default_variants,
    listed_variants,
)
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.resolution import ModelFacts
from protea_ray.errors import ConfigError

WHOLE = {"max_residues": UNCUT}
FIELDS: dict[str, dict[str, Any]] = {
    "windows": {},
    "windows:0": {"window_overlap": 0},
    "windows:average": {"stitch": "average", "window_overlap": 0},
    "truncate": {"on_long": "truncate"},
    "whole": WHOLE,
    "exact": WHOLE | {"attention": "exact"},
    "local:512": WHOLE | {"attention": "local:512"},
    "windows+local:512": {"attention": "local:512"},
    "truncate+exact": {"on_long": "truncate", "attention": "exact"},
    "bigbird:64,3,1,3,0": WHOLE | {"attention": "bigbird:64,3,1,3,0"},
    "hedgehog": WHOLE | {"attention": "hedgehog"},
    "yarn:2.0": {"rope": "yarn:2"},
    "int4": {"quantization": "int4"},
    "hqq:3": {"quantization": "hqq:3"},
    "local:512+hqq:4": WHOLE | {"attention": "local:512", "quantization": "hqq:4"},
    "model:/a/b": {"model": "/a/b"},
    "model:/a=b": {"model": "/a=b"},
}


@pytest.mark.parametrize("text", FIELDS)
def test_a_text_is_fields_of_a_recipe(text: str):
    found = compared_variant(text)
    assert (found.name, dict(found.fields), found.stretch) == (text, FIELDS[text], "")
    EmbeddingConfig.model_validate({"model": "m"} | dict(found.fields))


def test_a_name_stands_in_front():
    found = compared_variant("long form=local:64+int8")
    assert (found.name, found.fields["attention"], found.fields["quantization"]) == ("long form", "local:64", "int8")


def test_a_stretch_without_a_factor_follows_the_length():
    yarn = compared_variant("yarn")
    assert yarn.at(2048, 1022).fields == {"rope": "yarn:2.004"}  # never below what the longest protein needs
    assert yarn.at(1022, 1022).fields == {} and yarn.at(5000, None).fields == {}
    assert compared_variant("yarn:3").at(2048, 1022).fields == {"rope": "yarn:3"}


def test_lists_with_commas_leave_numbers_where_they_belong():
    given = ["exact, favor:128,0+int8,bigbird:64,3,1,3,0", "windows"]
    assert listed_variants(given) == ["exact", "favor:128,0+int8", "bigbird:64,3,1,3,0", "windows"]


def test_all_mistakes_come_in_one_message():
    wrong = ["exakt", "local:0", "windows:many", "hqq:5", "int4+int8", "model:", "yarn:0.5", "exact", "exact=whole",
             "windows=exact"]  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        compared_variants(wrong)
    told = str(caught.value)
    for part in (
        "did you mean exact?", "W is '0'", "windows:average, windows:N", "did you mean hqq:", "says bits twice",
        "names no checkpoint", "below 1", "there is a variant 'exact' already", "windows is the name of the default",
    ):  # fmt: skip
        assert part in told, part
    assert len(caught.value.problems) == len(wrong) - 1


def test_the_default_variants_are_those_that_the_model_can_do():
    facts = ModelFacts("esm2", 6, True, 1022, "float16", has_rotary=True)
    names = default_variants(facts)
    compared_variants(names)
    assert {"exact", "windows", "windows:average", "truncate", "local:512", "yarn"} <= set(names)
    assert "hedgehog" not in names
    bias = default_variants(ModelFacts("t5", 24, False, None, "bfloat16", has_feature_maps=True))
    assert "yarn" not in bias and "hedgehog" in bias
