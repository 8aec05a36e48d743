"""Feature maps of a checkpoint (`feature_maps.safetensors`): their names, and whether they are those of its layers.

They lie in a file of their own, so that transformers opens the directory as before and says nothing of tensors that it
does not know. Names are those that the modules have in a loaded model. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protea_ray.errors import CheckpointError
from protea_ray.models.families.base import FEATURE_MAP, Family
from protea_ray.models.fit import size_text
from protea_ray.models.weights import FEATURE_MAPS, TensorHeader


def map_name(family: Family, config: Mapping[str, Any], layer: int, part: str) -> str:
    """Name in the files of the matrices for `part` (query or key) of a layer; raises CheckpointError for no maps."""
    wanted = family.wanted(config)
    if wanted is None or family.attention_part is None:
        raise CheckpointError(f"{family.name} takes no feature maps: the names of its attention are not known here")
    return f"{wanted.prefix}.{wanted.layers}.{layer}.{family.attention_part}{FEATURE_MAP}{part}"


def require_maps_fit(
    directory: Path, tensors: Sequence[TensorHeader], family: Family, config: Mapping[str, Any]
) -> None:
    """Raise CheckpointError unless the maps' file has two float32 tensors (heads, d, d) for every layer, no more."""
    shape = family.shape(config)
    size = (shape.heads, shape.head_dim, shape.head_dim)
    names = {map_name(family, config, i, part) for i in range(shape.layers) for part in ("query", "key")}
    held = {tensor.name: tensor for tensor in tensors}
    problems = [f"{name} is missing" for name in sorted(names - held.keys())]
    problems += [f"{name} belongs to no layer" for name in sorted(held.keys() - names)]
    problems += [
        f"{name} is {size_text(held[name].shape)} of {held[name].dtype}, not {size_text(size)} of F32"
        for name in sorted(names & held.keys())
        if (held[name].shape, held[name].dtype) != (size, "F32")
    ]
    if problems:
        raise CheckpointError(
            f"{directory / FEATURE_MAPS} has maps of another model: {'; '.join(problems[:3])}"
            f"{f'; and {len(problems) - 3} more' if problems[3:] else ''}. Copy the directory again as it was written, "
            "or remove that file: every attention but hedgehog works without it."
        )
