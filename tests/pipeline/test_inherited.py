"""What a re-embedding keeps of the space before: what was chosen, and nothing that followed from its model."""

from __future__ import annotations

from typing import Any

import pytest

from protea_ray.pipeline.reembed import inherited
from protea_ray.store.spaces import SpaceInfo

RECIPE = {"model": "m", "family": "esm2", "layers": [0], "dtype": "float32", "window_overlap": 128}


def space(recipe: dict[str, Any], **own: Any) -> SpaceInfo:
    made_by = {"model": "m", "revision": None, "files": {}, **own}
    return SpaceInfo("m-1", {}, {**RECIPE, **recipe}, made_by, hidden=8, run="r", created="2026-01-01")


@pytest.mark.parametrize(
    ("recipe", "own", "kept"),
    [
        ({"attention": "exact", "max_residues": 1022}, {"attention": "exact", "trained_length": 1022}, {}),
        ({"attention": "local:512", "max_residues": 2048}, {"attention": "local:512", "trained_length": 2048}, {}),
        (
            {"attention": "local:64", "max_residues": 500},
            {"attention": "exact", "trained_length": 1022},
            {"attention": "local:64", "max_residues": 500},
        ),
        ({"attention": "exact", "max_residues": 1022}, {"attention": "local:512", "trained_length": 2048},
         {"attention": "exact", "max_residues": 1022}),
        # a space that was made before models had an attention of their own
        ({"attention": "exact", "max_residues": 1022}, {}, {"max_residues": 1022}),
        ({"attention": "local:64", "max_residues": None}, {}, {"attention": "local:64", "max_residues": None}),
    ],
)  # fmt: skip
def test_what_a_model_was_trained_with_is_no_choice(
    recipe: dict[str, Any], own: dict[str, Any], kept: dict[str, Any]
) -> None:
    found = inherited(space(recipe, **own), "esm2")
    always = {"layers": [0], "dtype": "float32", "window_overlap": 128}
    assert found == always | kept
