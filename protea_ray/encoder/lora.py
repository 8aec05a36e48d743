"""Low-rank updates of a frozen matrix (LoRA, Hu et al. 2021), and an adapter's place in the layers of a loaded model.

An adapter of a float model is added to the matrices in float32 while the model is loaded, so it costs nothing later
and may be quantised like any model. An adapter of a quantised model stays beside the matrices: it was trained on the
rounded ones (QLoRA, Dettmers et al. 2023), and the sum of both has no form in so few bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protea_ray.models.adapters import Adapter, target_names
from protea_ray.models.families.base import Wanted
from protea_ray.models.families.fused import Activated


class LoRA(nn.Module):
    """`base`(x) + scale * x A' B', where A is (rank, in) and B (out, rank), both float32; nothing but them is trained.

    `base` is any layer from (..., in) to (..., out) through which a gradient passes.
    """

    def __init__(self, base: nn.Module, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A, self.lora_B, self.scale = nn.Parameter(a), nn.Parameter(b), scale

    @classmethod
    def fresh(cls, base: nn.Module, rank: int, alpha: float, random: torch.Generator) -> LoRA:
        """An update that is 0 until it is trained: A Kaiming uniform in +-1 / sqrt(in), B zero; `random` is a CPU's."""
        out, inner = sides(base)
        a = torch.empty(rank, inner)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=random)
        place = device_of(base)
        return cls(base, a.to(place), torch.zeros(out, rank, device=place), alpha / rank)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out) in the dtype of the base's result."""
        result = self.base(x)
        update = F.linear(F.linear(x.to(self.lora_A.dtype), self.lora_A), self.lora_B)
        return result + (self.scale * update).to(result.dtype)


def merged(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """The matrix (out, in) that does what weight and update do together, float32."""
    return weight.float() + scale * (b.float() @ a.float())


def sides(base: Any) -> tuple[int, int]:
    """(out, in) of a Linear or of a Linear in few bits."""
    out, inner = base.shape if hasattr(base, "packed") else base.weight.shape
    return int(out), int(inner)


def device_of(base: Any) -> torch.device:
    """Where the matrix of a Linear, or of a Linear in few bits, is."""
    return (base.packed if hasattr(base, "packed") else base.weight).device


def place_in(layer: nn.Module, part: str) -> str:
    """The name in a loaded layer of the matrix that the files call `part`: fused layers hold theirs one level down."""
    return f"{part}.dense" if isinstance(layer.get_submodule(part), Activated) else part


def factors(adapter: Adapter, wanted: Wanted) -> Iterator[tuple[int, str, Tensor, Tensor]]:
    """Layer number, name in the layer, A and B of every target of an adapter, from its file."""
    from safetensors.torch import load_file

    held = load_file(adapter.weights)
    for name, (layer, part) in target_names(list(held), wanted).items():
        yield layer, part, held[f"{name}.lora_A.weight"], held[f"{name}.lora_B.weight"]


def merge_into(layers: Sequence[nn.Module], exact: Sequence[nn.Module], adapter: Adapter, wanted: Wanted) -> None:
    """Add an adapter to the matrices of `layers`, in place; `exact` are the same layers in float32."""
    for number, part, a, b in factors(adapter, wanted):
        name = place_in(layers[number], part)
        linear: Any = layers[number].get_submodule(name)
        source: Any = exact[number].get_submodule(name)
        whole = merged(source.weight.detach(), a, b, adapter.scale)
        linear.weight = nn.Parameter(whole.to(linear.weight.dtype), requires_grad=False)


def keep_beside(layers: Sequence[nn.Module], adapter: Adapter, wanted: Wanted) -> None:
    """Put an adapter beside the matrices of `layers`, in place, on their device and frozen."""
    for number, part, a, b in factors(adapter, wanted):
        name = place_in(layers[number], part)
        base = layers[number].get_submodule(name)
        place = device_of(base)
        kept = LoRA(base, a.float().to(place), b.float().to(place), adapter.scale)
        layers[number].set_submodule(name, kept.eval().requires_grad_(False))
