"""What makes two vectors comparable: the identity of a space.

A space is the sha256 over the canonical JSON of every field that changes numbers, the digest of every weight
file, and the digest of the model's own configuration and vocabulary. Names, paths and revisions are recorded
beside it but are not in it: the same weights from a hub or from a disk are the same space.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from protea_ray.config.recipe import EmbeddingConfig

_NOT_NUMBERS = {"model", "revision"}
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")


def identity(config: EmbeddingConfig, files: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a resolved config that change numbers, plus `files` (name to sha256) of the checkpoint.

    A knob that is out of play is left out: the overlap of windows that are never cut, of chunks that are not
    asked for, how one single layer is aggregated, and outputs when there are no others than embeddings.
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
    return {"config": fields, "files": dict(sorted(files.items()))}


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def space_name(config: EmbeddingConfig, files: Mapping[str, str]) -> str:
    """Table name of a space: the checkpoint's short name and 8 hex digits of the identity."""
    digest = hashlib.sha256(canonical_json(identity(config, files)).encode()).hexdigest()
    short = _UNSAFE.sub("_", config.model.rstrip("/").rsplit("/", 1)[-1]).strip("._") or "model"
    return f"{short[:80]}-{digest[:8]}"
