"""int8, nf4 and equal steps in words, without the libraries of the encoder: what to compare quantised matrices with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Dettmers et al. 2023, appendix E: quantiles of a normal distribution, the largest weight of a block is 1
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


class ByTheBook(nn.Module):
    """int8 in words: each output channel of the matrix and each row of the input by its own largest number."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.matrix, self.scale = _int8(linear.weight.detach())
        self.bias, self.weight = linear.bias, None

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features), whole numbers multiplied in float64, which is exact."""
        rows, scale = _int8(x)
        product = (rows.double() @ self.matrix.double().T).float() * scale * self.scale.flatten()
        return product if self.bias is None else product + self.bias


def _int8(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = (x.abs().amax(-1, keepdim=True) / 127.5).clamp(min=torch.finfo(torch.float32).eps)
    # a product as in torchao: the largest number is 127.5 steps, and a quotient may fall on the other side
    return (x * (1 / scale)).round().clamp(-128, 127), scale


def nf4(weight: Tensor, block: int = 64) -> Tensor:
    """`weight` after nf4: the flattened matrix in blocks, each number the nearest level times its block's largest."""
    levels = torch.tensor(NF4, device=weight.device)
    flat = weight.detach().float().reshape(-1, block)
    largest = flat.abs().amax(1, keepdim=True)
    steps = torch.bucketize(flat / largest, (levels[1:] + levels[:-1]) / 2)
    return (levels[steps] * largest).reshape(weight.shape)


def nearest_step(weight: Tensor, bits: int, block: int = 64) -> Tensor:
    """`weight` after rounding: in each block the nearest of 2^bits equal steps from its smallest to its largest."""
    flat = weight.detach().double().reshape(-1, block)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    step = (high - low) / (2**bits - 1)
    return (((flat - low) / step).round() * step + low).reshape(weight.shape).to(weight.dtype)
