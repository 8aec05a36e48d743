"""Learn the feature maps of linear attention from a model's exact attention; its own weights stay as they are.

Every layer gets the input that the exact model gives it (teacher forcing) and its maps are to reproduce what exact
attention returns there, so all layers learn at once and none waits for another. The loss of a token is the mean over
layers of the mean squared difference of the two outputs, before the projection that follows attention (attention
transfer, Zhang et al. 2024, with the outputs in place of the weights as in LoLCATs, Zhang et al. 2024b: no L x L
numbers are needed).

A layer's loss depends on its own maps alone. So its gradient is taken at once and what led to it is freed: memory is
that of one layer, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from protea_ray.config.attention_forms import AttentionVariant
from protea_ray.encoder.attention import attend
from protea_ray.encoder.feature_maps import add_feature_maps, feature_maps_of, hedgehog
from protea_ray.models.weights import FEATURE_MAPS
from protea_ray.train.masked_model import MaskedModel

if TYPE_CHECKING:
    from protea_ray.train.masking import MaskedPack

HEDGEHOG = AttentionVariant("hedgehog")
_COMPARED = "protea_compared"  # name of `_attend_and_compare` among transformers' attention functions
_COMPARE = "compare"  # attribute of an attending module while its outputs are compared


class Distillation(nn.Module):
    """A model under exact attention whose feature maps learn from it; `model` was given maps by `add_feature_maps`."""

    def __init__(self, model: MaskedModel) -> None:
        super().__init__()
        from transformers import AttentionInterface

        AttentionInterface.register(_COMPARED, _attend_and_compare)
        self.model = model.requires_grad_(False)
        self.maps = feature_maps_of(model.family, model.body)
        for maps in self.maps:
            maps.requires_grad_(True)

    def forward(
        self, ids: Tensor, positions: Tensor, cu_seqlens: Tensor, rows: np.ndarray, chosen: Tensor, targets: Tensor
    ) -> Tensor:
        """Sum over the tokens of one pack of their loss, a float32 scalar; arguments as of `MaskedModel.losses`."""
        with self.comparing(rows) as errors:
            self.model.states(ids, positions, cu_seqlens, rows)
        return torch.stack([error for error, _ in errors]).mean()

    @contextmanager
    def comparing(self, rows: np.ndarray) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Inside, a pass of the exact model over the windows `rows` appends two numbers for each layer.

        They are sums over tokens: of the mean squared difference, and of the mean square of the exact outputs.
        """
        errors: list[tuple[Tensor, Tensor]] = []
        stack = self.model.family.stack(self.model.body)
        config: Any = self.model.body.config

        def compare(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, exact: Tensor, scale: float) -> None:
            errors.append(_with_gradient(module, *_errors(module, q, k, v, exact, scale, rows)))

        attending = [layer.get_submodule(str(self.model.family.attention_part)) for layer in stack.layers]
        before, config._attn_implementation = config._attn_implementation, _COMPARED
        for module in attending:
            setattr(module, _COMPARE, compare)
        try:
            yield errors
        finally:
            config._attn_implementation = before
            for module in attending:
                delattr(module, _COMPARE)

    @contextmanager
    def as_learned(self) -> Iterator[None]:
        """Inside, the model attends through its maps as they are now."""
        before, self.model.variant = self.model.variant, HEDGEHOG
        try:
            yield
        finally:
            self.model.variant = before


def learning_maps(model: MaskedModel, directory: Path) -> Distillation:
    """`model` frozen, with the maps of `directory` or with fresh ones where it has none, which are to learn."""
    fresh = not (directory / FEATURE_MAPS).is_file()
    add_feature_maps(model.family, model.body, directory, model.device, fresh=fresh)
    return Distillation(model)


def tokens_of(pack: MaskedPack) -> int:
    """What the loss of a pack is a sum over."""
    return int(pack.rows[-1])


def _attend_and_compare(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None,
    scaling: float | None = None, **keywords: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """`attend`, whose result goes on unchanged, and a look at what the maps of `module` would give."""
    with torch.no_grad():
        exact, _ = attend(module, query, key, value, attention_mask, scaling, **keywords)
    scale = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
    getattr(module, _COMPARE)(module, query, key, value, exact, scale)
    return exact, None


def _errors(
    module: nn.Module, q: Tensor, k: Tensor, v: Tensor, exact: Tensor, scale: float, rows: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Sums over the tokens of a pack: mean squared difference, mean square of `exact`, which is (1, T, H, d)."""
    width = exact.shape[2] * exact.shape[3]
    learned = [hedgehog(module, q[:, :, a:b], k[:, :, a:b], v[:, :, a:b].float(), scale) for a, b in pairwise(rows)]
    wanted = exact.detach().float()
    difference = torch.cat(learned, 2).transpose(1, 2) - wanted
    return difference.square().sum() / width, wanted.square().sum() / width


def _with_gradient(module: Any, error: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """The same numbers, `error` with its gradient for the maps of `module` and without the graph that led to it."""
    if not torch.is_grad_enabled():
        return error, size
    parameters = list(module.feature_maps.parameters())
    slopes = torch.autograd.grad(error, parameters)
    line = torch.stack([(p * slope).sum() for p, slope in zip(parameters, slopes, strict=True)]).sum()
    return error.detach() + (line - line.detach()), size.detach()
