"""The identity of the space that a resolved recipe fills, and the name that follows from it.

The identity is the canonical JSON of the recipe's fields, with the sha256 of every weight file and of the model's own
configuration and vocabulary; its digest is part of the space's name. The names, paths and revisions of a checkpoint are
recorded beside it and are not part of it: the same weights from a hub or from a disk are the same space.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from protea_ray.config.known_models import TWIN, without_twin
from protea_ray.config.recipe import EmbeddingConfig

_NOT_NUMBERS = {"model", "revision"}
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")


def identity(config: EmbeddingConfig, files: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a resolved config that change numbers, plus `files` (name to sha256) of the checkpoint.

    A field that has no effect in this recipe is left out: the overlap of windows when no protein has several, the
    overlap and mode of chunks when there are none, layer_agg of a single layer, outputs of embeddings alone, the
    alphabet of amino acids, positions that are not stretched, and the usual stitching.
    """
    fields = config.model_dump(mode="json", exclude=_NOT_NUMBERS)
    if config.on_long != "window" or config.max_residues is None:
        fields.pop("window_overlap")
    if config.max_residues is None:
        fields.pop("on_long")
    if config.chunk_size is None:
        fields.pop("chunk_overlap")
        fields.pop("chunk_mode")
    if len(config.layers) == 1:
        fields.pop("layer_agg")
    if not config.keeps_logits:
        fields.pop("outputs")
    if config.alphabet != "3di":
        fields.pop("alphabet")
    if config.rope == "none":
        fields.pop("rope")
    if config.stitch == "owner":
        fields.pop("stitch")
    return {"config": fields, "files": dict(sorted(files.items()))}


def canonical_json(value: Any) -> str:
    """JSON with one spelling for one value: sorted keys, no spaces, ASCII.

    >>> canonical_json({"b": [1, 2], "a": None})
    '{"a":null,"b":[1,2]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def space_name(config: EmbeddingConfig, files: Mapping[str, str]) -> str:
    """Table name of a space: the checkpoint's short name and 8 hex digits of the identity.

    >>> recipe = EmbeddingConfig(model="facebook/esm2_t6_8M_UR50D")
    >>> space_name(recipe, {"model.safetensors": "00ff"}).rpartition("-")[0]
    'esm2_t6_8M_UR50D'
    >>> moved = recipe.model_copy(update={"model": "/data/esm2_t6_8M_UR50D"})
    >>> space_name(moved, {"model.safetensors": "00ff"}) == space_name(recipe, {"model.safetensors": "00ff"})
    True
    """
    return f"{short_name(config.model)}-{identity_digest(config, files)[:8]}"


def identity_digest(config: EmbeddingConfig, files: Mapping[str, str]) -> str:
    """The sha256 of the identity in hex: what two runs share whose vectors may be compared."""
    return hashlib.sha256(canonical_json(identity(config, files)).encode()).hexdigest()


def short_name(model: str) -> str:
    """The last part of a hub id or path as the beginning of a table's name: at most 80 safe characters.

    >>> short_name("facebook/esm2_t6_8M_UR50D"), short_name("untrained:facebook/esm2_t6_8M_UR50D")
    ('esm2_t6_8M_UR50D', 'untrained-esm2_t6_8M_UR50D')
    """
    name = _UNSAFE.sub("_", without_twin(model).rstrip("/").rsplit("/", 1)[-1]).strip("._") or "model"
    twin = model.startswith(TWIN) and not name.startswith("untrained")
    return f"untrained-{name}"[:80] if twin else name[:80]
