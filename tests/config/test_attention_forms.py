"""The grammar of `attention` and `rope`: every form is read and written back, and nothing else is accepted."""

from __future__ import annotations

import pytest

from protea_ray.config.attention_forms import attention_variant, known_rope, rope_scaling


@pytest.mark.parametrize(
    "text", ["exact", "local:1", "global:512", "bigbird:64,3,1,3,7", "nystrom:64", "favor:128,0", "hedgehog"]
)
def test_every_form_is_written_back(text: str):
    assert str(attention_variant(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "Exact", "exact:", "exact:1", "local", "local:0", "local:-1", "local:01", "local:1,2", "local:1 ", "global",
     "bigbird:64,3,1,3", "bigbird:0,3,1,3,0", "nystrom:", "nystrom:1.5", "favor:64", "hedgehog:8", "linformer:64"],
)  # fmt: skip
def test_other_words_are_refused_with_the_forms(text: str):
    with pytest.raises(ValueError, match=r"local:|whole number"):
        attention_variant(text)


def test_the_window_is_that_of_local_and_global_alone():
    found = {text: attention_variant(text).window for text in ("exact", "local:7", "global:9", "nystrom:64")}
    assert found == {"exact": -1, "local:7": 7, "global:9": 9, "nystrom:64": -1}


def test_a_scaling_has_one_spelling():
    assert [known_rope(text) for text in ("none", "yarn:2.0", "ntk:1.50", "linear:1")] == [
        "none", "yarn:2", "ntk:1.5", "none",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "yarn", "yarn:", "yarn:0.5", "ntk:-2", "linear:nan", "linear:inf", "none:2", "pi:2"]
)
def test_other_scalings_are_refused(text: str):
    with pytest.raises(ValueError, match=r"yarn:|factor"):
        rope_scaling(text)
