"""Which space of a store is the untrained control of another: the same shape and recipe, weights never trained."""

from __future__ import annotations

from typing import Any

from protea_ray.config.known_models import KNOWN, TWIN
from protea_ray.models.shipped import SMALL
from protea_ray.models.untrained import MODEL_NAME
from protea_ray.store.spaces import SpaceInfo

_LAYERS = {**{known.hub_id: known.layers for known in KNOWN}, SMALL: 6, MODEL_NAME: 6}


def is_twin(info: SpaceInfo, subject: SpaceInfo) -> bool:
    """Whether `info` holds the vectors of an untrained model of the shape of `subject`'s, under the same recipe.

    It is the space of `untrained:MODEL`, or of another untrained model of the same family, width and vocabulary with as
    many layers and attention heads. Older spaces do not record the last two: of those the layers of published and
    built-in models are known, and heads are not compared.
    """
    made = not (info.trained or info.imported or subject.imported) and subject.trained
    if not made or info.hidden != subject.hidden or _recipe(info) != _recipe(subject):
        return False
    ours, theirs = _shape(info), _shape(subject)
    if any(ours[name] != theirs[name] for name in ours.keys() & theirs.keys()):
        return False
    return info.model == TWIN + subject.model or {"layers", "vocabulary"} <= ours.keys() & theirs.keys()


def _recipe(info: SpaceInfo) -> dict[str, Any]:
    """What changes numbers beside the weights."""
    return dict(info.identity.get("config", {}))


def _shape(info: SpaceInfo) -> dict[str, Any]:
    """Layers, attention heads and the digest of the vocabulary, as far as they are known."""
    recorded = {name: info.checkpoint.get(name) for name in ("layers", "heads")}
    recorded["layers"] = recorded["layers"] or _LAYERS.get(info.model)
    recorded["vocabulary"] = info.checkpoint.get("files", {}).get("vocabulary")
    return {name: value for name, value in recorded.items() if value is not None}
