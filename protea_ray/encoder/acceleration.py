"""Who multiplies the matrices of the layers, chosen in one place.

On an x86 CPU oneDNN does, through the operation that torch's own compiler writes for a frozen model: product, bias
and activation in one pass. `nn.Linear` copies the bias, multiplies with MKL and goes over the result once more for
the activation. Measured on one thread of a Zen 4, 1,000 rows, widths 320 to 1,280, GFLOP/s:

| | float32 | bfloat16 |
|---|---|---|
| nn.Linear | 94 to 97 | 164 to 208 |
| oneDNN | 104 to 108 | 199 to 216 |
| nn.Linear, GELU | 87 to 93 | 175 to 193 |
| oneDNN with GELU | 98 to 105 | 185 to 202 |

Weights stay the tensors that were loaded, so that actors of a node go on sharing the pages of the file; a copy packed
for oneDNN gains another 3 % and would belong to each actor. The first product of a new size costs 0.7 to 0.9 ms.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from protea_ray.encoder.attention import Choice

ONEDNN, TORCH = "oneDNN", "torch"
_FUSED = {
    None: ("none", ""), "gelu": ("gelu", "none"), "gelu_new": ("gelu", "tanh"), "relu": ("relu", ""),
    "silu": ("swish", ""),
}  # fmt: skip


def choose(device: Any, quantization: str | None = None, is_compiled: bool = False) -> Choice:
    """Who multiplies on a device, for a quantisation and for layers that are compiled or not."""
    kind = str(device).split(":")[0]
    if kind != "cpu":
        return Choice(TORCH, f"what {kind} has")
    if quantization is not None:
        return Choice(TORCH, f"{quantization} has products of its own")
    if is_compiled:
        return Choice(TORCH, "the compiler chooses")
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return Choice(TORCH, "oneDNN is for x86 here")
    return Choice(ONEDNN, "a tenth faster than MKL, bias and activation in the same pass")


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """oneDNN's x @ weight.T + bias, (..., in) and (out, in) to (..., out), then an activation by transformers' name."""
    name, variant = _FUSED[activation]
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], variant)


class OneDnnLinear(nn.Linear):
    """A Linear of the same weights, multiplied by oneDNN."""

    @classmethod
    def like(cls, linear: nn.Linear) -> OneDnnLinear:
        """Shares weight and bias with `linear`."""
        made = cls(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        made.weight, made.bias = linear.weight, linear.bias
        return made.train(linear.training)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return product(input, self.weight, self.bias)

    def activated(self, input: Tensor, activation: str) -> Tensor:
        """The same, then the activation that transformers calls so."""
        return product(input, self.weight, self.bias, activation)


def use_onednn(layers: Sequence[nn.Module]) -> None:
    """Replace every Linear of `layers`, in place."""
    for layer in layers:
        for name, part in list(layer.named_modules()):
            if type(part) is nn.Linear:
                layer.set_submodule(name, OneDnnLinear.like(part))
