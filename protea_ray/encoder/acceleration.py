"""What makes the layers faster and changes no number: products by oneDNN on a CPU, fewer and compiled ones on a GPU.

**Products.** On an x86 CPU the operation that torch's own compiler writes for a frozen model computes product, bias and
activation in one pass. `nn.Linear` copies the bias, multiplies with MKL, and reads the result once more for the
activation. Measured on one thread of a Zen 4, 1,000 rows, widths 320 to 1,280, GFLOP/s:

| | float32 | bfloat16 |
|---|---|---|
| nn.Linear | 94 to 97 | 164 to 208 |
| oneDNN | 104 to 108 | 199 to 216 |
| nn.Linear, GELU | 87 to 93 | 175 to 193 |
| oneDNN with GELU | 98 to 105 | 185 to 202 |

Weights stay the tensors that were loaded, so that the actors of a node share the pages of the file. A copy packed for
oneDNN is another 3 % faster, but every actor would hold its own. The first product of a new size costs 0.7 to 0.9 ms.

**Compilation.** On a GPU eager layers spend more time between the matrix products than in them (counted traffic for
ESM-2 650M in bfloat16: 116 ns a token and layer against 61), and compiled layers fuse what lies between. On a CPU
compilation gains nothing once GELU is one kernel (ESM-2 8M: 0.98 in float32, 1.01 in bfloat16), except for int8, which
is 1.4 times as fast compiled. Attention is an opaque op to the compiler, so one graph serves all layers and every pack.
The first use costs 10 to 24 s, later processes of the same machine 3 s: the code is kept in the cache directory.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from protea_ray.config.attention_forms import EXACT, AttentionVariant
from protea_ray.config.cache import cache_directory
from protea_ray.encoder.attention import Choice
from protea_ray.errors import EncoderError

ONEDNN, JOINED, TORCH = "oneDNN", "joined", "torch"
_FUSED = {
    None: ("none", ""), "gelu": ("gelu", "none"), "gelu_new": ("gelu", "tanh"), "relu": ("relu", ""),
    "silu": ("swish", ""),
}  # fmt: skip


def choose_product(
    device: Any, quantization: str | None = None, is_compiled: bool = False, asked: str = "auto"
) -> Choice:
    """What multiplies matrices on a device, for a quantisation and for layers that are compiled or not.

    `asked` is auto or torch; torch keeps `nn.Linear` as it was loaded.
    """
    kind = str(device).split(":")[0]
    if asked == "torch":
        return Choice(TORCH, "asked for")
    if quantization is not None:
        return Choice(TORCH, f"{quantization} has products of its own")
    if kind == "cuda":
        return Choice(JOINED, "query, key and value are one product")
    if kind != "cpu":
        return Choice(TORCH, f"what {kind} has")
    if is_compiled:
        return Choice(TORCH, "the compiler chooses")
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return Choice(TORCH, "oneDNN is for x86 here")
    return Choice(ONEDNN, "a tenth faster than MKL, bias and activation in the same pass")


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """Multiply with oneDNN: `x` (..., in) and `weight` (out, in) give x @ weight.T + bias, (..., out).

    `activation` is the name that transformers gives to an activation of the result; None leaves it out.
    """
    name, variant = _FUSED[activation]
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], variant)


class OneDnnLinear(nn.Linear):
    """A Linear that multiplies with oneDNN. Raises EncoderError where a gradient is wanted."""

    @classmethod
    def like(cls, linear: nn.Linear) -> OneDnnLinear:
        """A layer that shares weight and bias with `linear`."""
        made = cls(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        made.weight, made.bias = linear.weight, linear.bias
        return made.train(linear.training)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        self._require_no_gradient(input)
        return product(input, self.weight, self.bias)

    def activated(self, input: Tensor, activation: str) -> Tensor:
        """(..., in_features) to (..., out_features), then the activation of transformers' name `activation`."""
        self._require_no_gradient(input)
        return product(input, self.weight, self.bias, activation)

    def _require_no_gradient(self, input: Tensor) -> None:
        """Raise EncoderError where a gradient is wanted: the operation has none, and torch gives zeros in its place."""
        if torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad):
            raise EncoderError(
                "oneDNN's matrix product has no gradient; load the model for training with "
                "protea_ray.train.masked_model, or with products='torch'"
            )


def use_onednn(layers: Sequence[nn.Module]) -> None:
    """Replace every Linear of `layers`, in place."""
    for layer in layers:
        for name, part in list(layer.named_modules()):
            if type(part) is nn.Linear:
                layer.set_submodule(name, OneDnnLinear.like(part))


ON, OFF = "compiled", "eager"


def choose_compiling(
    device: Any, kernel: str, quantization: str | None = None, asked: str = "auto",
    variant: AttentionVariant = EXACT,
) -> Choice:  # fmt: skip
    """Whether the layers are compiled, for a device, an attention kernel, a quantisation and a variant of attention.

    `asked` is auto, on or off. Raises EncoderError when `asked` is on and no compiler is here, or where int4 is
    decoded.
    """
    kind = str(device).split(":")[0]
    if asked == "off":
        return Choice(OFF, "asked for")
    missing = _missing_compiler(kind)
    if quantization == "int4":  # AssertionError inside of inductor, torch 2.13 with bitsandbytes 0.50
        if asked == "on":
            raise EncoderError("compile: the decoding of int4 cannot be compiled; use hqq:4, or leave compile at auto")
        return Choice(OFF, "the decoding of int4 cannot be compiled")
    if asked == "on":
        if missing:
            raise EncoderError(f"compile: {missing}; install it, or leave compile at auto")
        return Choice(ON, "asked for")
    if kind != "cuda" and quantization == "int8":
        return Choice(OFF, "compile on makes int8 1.4 times as fast, after half a minute of compiling once")
    if kind != "cuda":
        return Choice(OFF, "a CPU gains nothing")
    if missing:
        return Choice(OFF, missing)
    if kernel == "flex":
        return Choice(OFF, "flex compiles itself")
    if not variant.is_masked_exactly:
        return Choice(OFF, f"{variant} goes through proteins one by one, which the compiler cannot follow")
    return Choice(ON, "fuses what lies between the matrix products")


def compile_layers(layers: Sequence[Any]) -> None:
    """Mark every layer for compilation, in place. The first pack compiles them, once for all layers."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_directory() / "compiled"))
    for layer in layers:
        layer.compile(dynamic=True)


def _missing_compiler(kind: str) -> str | None:
    """In words, what a compiler for this kind of device needs and this machine lacks; None when nothing is missing."""
    if kind == "cuda":
        return None if find_spec("triton") else "there is no triton here, which compiles for a GPU"
    name = os.environ.get("CXX", "g++")
    return None if shutil.which(name) else f"there is no {name} here, which compiles for a CPU"
