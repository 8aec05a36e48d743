"""Wrong quantisations of one Linear that the tests write themselves; the right one is acceptance/by_the_book.py."""

from __future__ import annotations

from torch import nn
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, PerTensor, quantize_


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
