"""The untrained control of a space: found by what it is, and never one of another shape or recipe."""

from __future__ import annotations

from typing import Any

import pytest

from protea_ray.store.spaces import SpaceInfo
from protea_ray.store.twin_spaces import is_twin
from tests.store import build

RECIPE = {"family": "esm2", "layers": [0], "pooling": ["mean"], "dtype": "float32"}


def space(model: str, trained: bool, *, hidden: int = 320, recipe: object = RECIPE, **known: Any) -> SpaceInfo:
    files = {"model.safetensors": model, "vocabulary": known.pop("vocabulary", "v")}
    identity = {"config": recipe, "files": files}
    checkpoint = {"model": model, "revision": None, "files": files, **known}
    return build.info(model, identity=identity, checkpoint=checkpoint, trained=trained, hidden=hidden)


OWN = space("/m/own", True, layers=6, heads=20)


@pytest.mark.parametrize(
    "info",
    [
        space("untrained:/m/own", False, layers=6, heads=20),
        space("untrained:/m/own", False),
        space("untrained-esm2-8m", False, layers=6, heads=20),
        space("untrained-esm2-8m", False),  # of an older store
        space("/m/fresh", False, layers=6, heads=20),
    ],
    ids=lambda info: f"{info.model} {info.checkpoint.get('layers')}",
)
def test_a_twin(info: SpaceInfo) -> None:
    assert is_twin(info, OWN)
    assert not is_twin(OWN, info)


@pytest.mark.parametrize(
    "info",
    [
        space("/m/other", True, layers=6, heads=20),
        space("untrained:/m/own", False, hidden=480, layers=6, heads=20),
        space("untrained:/m/own", False, recipe=RECIPE | {"layers": [1]}, layers=6, heads=20),
        space("untrained:/m/own", False, recipe=RECIPE | {"dtype": "bfloat16"}, layers=6, heads=20),
        space("untrained:/m/own", False, layers=12, heads=20),  # the directory holds another model now
        space("/m/fresh", False, layers=12, heads=20),
        space("/m/fresh", False, layers=6, heads=5),
        space("/m/fresh", False, layers=6, heads=20, vocabulary="w"),
        space("/m/fresh", False),  # how many layers is not known
    ],
    ids=["trained", "width", "layer", "dtype", "layers by name", "layers", "heads", "vocabulary", "unknown"],
)
def test_no_twin(info: SpaceInfo) -> None:
    assert not is_twin(info, OWN)


def test_imported_vectors_have_no_twin() -> None:
    imported = build.info("taken", imported=True, hidden=320, identity={"config": RECIPE})
    assert not is_twin(space("untrained-esm2-8m", False, layers=6, heads=20), imported)


def test_layers_of_published_models_are_known() -> None:
    known = space("facebook/esm2_t6_8M_UR50D", True)
    assert is_twin(space("untrained-esm2-8m", False), known)
    assert not is_twin(space("/m/fresh", False, layers=7), known)
