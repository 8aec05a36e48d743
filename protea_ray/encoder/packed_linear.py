"""A Linear whose matrix is kept in few bits and decoded for each product, with a gradient for its input.

The product is in the dtype that the matrix had, so such a model is quantised in its weights alone: a protein's numbers
depend on it and not on its neighbours in a pack, as those of a float model do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

GROUP = 64  # weights that share a scale, in every format here


class PackedLinear(nn.Module, ABC):
    """`packed` is the matrix in few bits, `shape` its (out_features, in_features); it stays on its device."""

    weight = None  # T5 casts the input of `wo` to the dtype of its weight, which would be that of the packed bits
    packed: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.shape, self.bias = linear.weight.shape, linear.bias

    @abstractmethod
    def matrix(self) -> Tensor:
        """The decoded weights, (out_features, in_features) in the dtype that they had before quantisation."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features) in the dtype of the matrix."""
        if torch.is_grad_enabled() and x.requires_grad:
            result: Any = _DecodedTwice.apply(x, self.bias, self)
            return result
        matrix = self.matrix()
        return F.linear(x.to(matrix.dtype), matrix, self.bias)


class Nf4Linear(PackedLinear):
    """A Linear in nf4 (Dettmers et al. 2023), whose scales are in 8 bits; `functional` is bitsandbytes'.

    The matrix is stored flat, because the CPU kernel takes the wrong scales when rows are no multiple of 64 long: an
    error of 0.25 in place of 0.09 (480 inputs, ESM-2 35M), and no message. bitsandbytes' own Linear4bit is not used,
    because it computes in bfloat16 on CPUs that have it, whatever the dtype.
    """

    def __init__(self, linear: nn.Linear, functional: Any) -> None:
        super().__init__(linear)
        flat = linear.weight.detach().reshape(-1)
        self.packed, self.state = functional.quantize_4bit(
            flat, blocksize=GROUP, quant_type="nf4", compress_statistics=True
        )
        self._dequantize = functional.dequantize_4bit

    def matrix(self) -> Tensor:
        """The decoded weights, (out_features, in_features) in the dtype that they had before quantisation."""
        return self._dequantize(self.packed, self.state).view(self.shape)


class _DecodedTwice(torch.autograd.Function):
    """The product of a `PackedLinear`, whose matrix is decoded again for the gradient and not kept until then.

    The product as autograd writes it keeps the decoded matrix of every layer, so a model in 4 bits would be trained in
    the memory of a float one. The matrix is frozen, so the input is not needed either.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, layer: PackedLinear) -> Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        matrix = layer.matrix()
        return F.linear(x.to(matrix.dtype), matrix, bias)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of input and bias; under autocast the product is in half precision, as the forward one is."""
        (grad,) = grads
        wants_x, wants_bias, _ = ctx.needs_input_grad
        of_x = (grad @ ctx.layer.matrix().to(grad.dtype)).to(ctx.dtype) if wants_x else None
        return of_x, grad.flatten(0, -2).sum(0) if wants_bias else None, None
