"""One window's attention by the variant of a recipe, and how far it is from the exact one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from protea_ray.config.attention_forms import AttentionVariant
from protea_ray.encoder.feature_maps import hedgehog
from protea_ray.encoder.variants.favor import favor_attention
from protea_ray.encoder.variants.nystrom import error_of_some, is_approximated, nystrom_attention
from protea_ray.encoder.variants.sparse import bigbird_attention, global_attention

_SPARSE: dict[str, Callable[..., Tensor]] = {"global": global_attention, "bigbird": bigbird_attention}


def attend_variant(
    variant: AttentionVariant, module: Any, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float
) -> Tensor:
    """Attention of one window, (1, H, L, d) in and out, in any form but exact and local.

    `module` is the attention of layer number `layer`, whose feature maps hedgehog needs. Approximations are computed
    in float32: their sums are over whole proteins. Raises EncoderError where the checkpoint has no feature maps.
    """
    if variant.kind in _SPARSE:
        return _SPARSE[variant.kind](q, k, v, scale, *variant.numbers)
    return _approximate(variant, module, layer, q.float(), k.float(), v.float(), scale).to(q.dtype)


def _approximate(
    variant: AttentionVariant, module: Any, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float
) -> Tensor:
    if variant.kind == "nystrom":
        return nystrom_attention(q, k, v, scale, *variant.numbers)
    if variant.kind == "favor":
        return favor_attention(q, k, v, scale, *variant.numbers, layer=layer)
    return hedgehog(module, q, k, v, scale)


def checked_error(
    variant: AttentionVariant, q: Tensor, k: Tensor, v: Tensor, out: Tensor, scale: float
) -> Tensor | None:
    """Relative error of one window's outputs where the variant asks for a check (nystrom), a scalar; else None."""
    if variant.kind != "nystrom" or not is_approximated(q.shape[2], variant.numbers[0]):
        return None
    return error_of_some(q.float(), k.float(), v.float(), out.float(), scale)
