"""Linear attention through learned feature maps (Hedgehog, Zhang et al. 2024), beside the weights of a model.

Each head of each layer has two matrices W (d, d), one for queries and one for keys, and phi(x) =
[softmax(x W), softmax(-x W)] with 2 d features. The weight of key j for query i is phi(q_i) . phi(k_j), divided by its
sum over all keys, so two products give the output of a window of L tokens in O(L) time and memory: no L x L numbers
exist. Queries and keys are taken after the rotation, so positions are in the features. The matrices are learned by
`protea_ray.train.distil`; with the identity, where they begin, the output is far from that of exact attention.

Everything is float32, whatever the model computes in: a sum over all keys in half precision would lose most of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from protea_ray.errors import EncoderError
from protea_ray.models.checkpoint import read_config
from protea_ray.models.families.base import Family
from protea_ray.models.feature_map_fit import map_name
from protea_ray.models.weights import FEATURE_MAPS

ATTRIBUTE = "feature_maps"  # of the module that attends
_LEAST = 1e-12  # of a feature: weights of a query never sum to 0


class FeatureMaps(nn.Module):
    """Feature maps of one layer: `query` and `key` are (heads, d, d) float32, identities until they are learned."""

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.eye(head_dim).repeat(heads, 1, 1))
        self.key = nn.Parameter(torch.eye(head_dim).repeat(heads, 1, 1))

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Features of queries and keys: (1, H, L, d) in, (1, H, L, 2 d) float32 out, all positive.

        Queries are those before any scaling by 1 / sqrt(d).
        """
        return _features(q, self.query), _features(k, self.key)


def _features(x: Tensor, matrix: Tensor) -> Tensor:
    y = x.float() @ matrix
    return torch.cat([y.softmax(-1), (-y).softmax(-1)], -1).clamp(min=_LEAST)


def linear_attention(features_q: Tensor, features_k: Tensor, v: Tensor) -> Tensor:
    """Outputs (..., L, d) float32 of queries and keys with features (..., L, r), values (..., L, d).

    Two products; the weights of a query sum to 1.
    """
    counted = torch.cat([v.float(), v.new_ones(*v.shape[:-1], 1, dtype=torch.float32)], -1)
    out = features_q @ (features_k.transpose(-1, -2) @ counted)
    return out[..., :-1] / out[..., -1:]


def hedgehog(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Linear attention of one window by the maps of the attending `module`: (1, H, L, d) in and out, in v's dtype.

    `scale` is what exact attention multiplies q . k by; queries that a family has scaled before are scaled back.
    Raises EncoderError for a module without maps.
    """
    maps: Any = getattr(module, ATTRIBUTE, None)
    if maps is None:
        raise EncoderError("attention hedgehog needs feature maps, and this model was loaded without them")
    with torch.autocast(q.device.type, enabled=False):
        features_q, features_k = maps(q * (scale * q.shape[-1] ** 0.5), k)
        return linear_attention(features_q, features_k, v).to(v.dtype)


def add_feature_maps(
    family: Family, module: nn.Module, directory: Path, place: torch.device, *, fresh: bool = False
) -> None:
    """Put feature maps into every layer of a loaded model, on `place` and frozen.

    They are those of the checkpoint in `directory`, or identities where `fresh`. Raises EncoderError for a checkpoint
    that has none, and for a family that takes none.
    """
    held, config = {} if fresh else _read(directory), read_config(directory)
    shape = family.shape(config)
    for number, attending in _attending(family, module):
        maps = FeatureMaps(shape.heads, shape.head_dim)
        if not fresh:
            maps.load_state_dict({part: held[map_name(family, config, number, part)] for part in ("query", "key")})
        setattr(attending, ATTRIBUTE, maps.to(place).eval().requires_grad_(False))


def feature_maps_of(family: Family, module: nn.Module) -> list[FeatureMaps]:
    """The maps of every layer of a model to which `add_feature_maps` gave some, first layer first."""
    return [getattr(attending, ATTRIBUTE) for _, attending in _attending(family, module)]


def _attending(family: Family, module: nn.Module) -> Iterator[tuple[int, nn.Module]]:
    if family.attention_part is None:
        raise EncoderError(f"{family.name} takes no feature maps: how its queries and keys meet is not known here")
    for number, layer in enumerate(family.stack(module).layers):
        yield number, layer.get_submodule(family.attention_part)


def _read(directory: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    path = directory / FEATURE_MAPS
    if not path.is_file():
        raise EncoderError(f"{directory} has no {FEATURE_MAPS}, which attention hedgehog needs")
    return load_file(path)
