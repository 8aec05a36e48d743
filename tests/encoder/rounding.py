"""Quantisations of one Linear that the tests write themselves: the right one in words, and three wrong ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, PerTensor, quantize_


class ByTheBook(nn.Module):
    """int8 in words: each output channel of the matrix and each row of the input by its own largest number."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.matrix, self.scale = _int8(linear.weight.detach())
        self.bias, self.weight = linear.bias, None

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = _int8(x)
        product = (rows.double() @ self.matrix.double().T).float() * scale * self.scale.flatten()
        return product if self.bias is None else product + self.bias


def _int8(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = (x.abs().amax(-1, keepdim=True) / 127.5).clamp(min=torch.finfo(torch.float32).eps)
    # a product as in torchao: the largest number is 127.5 steps, and a quotient may fall on the other side
    return (x * (1 / scale)).round().clamp(-128, 127), scale


def seven_bits(linear: nn.Linear) -> nn.Module:
    quantize_(linear, Int8DynamicActivationInt8WeightConfig(reduce_range=True, set_inductor_config=False))
    return linear


def one_scale(linear: nn.Linear) -> nn.Module:
    quantize_(linear, Int8DynamicActivationInt8WeightConfig(granularity=PerTensor(), set_inductor_config=False))
    return linear


def three_bits(linear: nn.Linear) -> nn.Module:
    step = linear.weight.abs().amax(-1, keepdim=True) / 3.5
    linear.weight.data = ((linear.weight / step - 0.5).round() + 0.5) * step
    return linear
