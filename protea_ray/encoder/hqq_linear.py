"""A Linear in 8, 4, 3 or 2 bits by half-quadratic quantisation (HQQ, Badri and Shaji 2023), which needs no data.

A group of 64 neighbouring weights of the flattened matrix has codes 0 to 2^bits - 1, a zero point and a scale, both
float32: weight = (code - zero) * scale. The zero point is moved in up to 20 steps so that the error is small where most
weights are (its p-norm, p = 0.7), and large for the few that are far out.

| bits | bytes a weight | of float32 | relative error of a product with a normal matrix |
|---|---|---|---|
| 8 | 1.125 | 1 / 3.6 | 0.005 |
| 4 | 0.625 | 1 / 6.4 | 0.087 |
| 3 | 0.525 | 1 / 7.6 | 0.18 |
| 2 | 0.375 | 1 / 10.7 | 0.43 |
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protea_ray.encoder.packed_linear import GROUP, PackedLinear

PIECE = 256  # groups that are quantised at once: see `_codes`
_TOGETHER = 4  # groups of which two bits make one byte


class HqqLinear(PackedLinear):
    """A Linear in `bits` bits; `quantizer` is hqq's class of that name, of which the plain PyTorch parts are used.

    hqq's own HQQLinear is not used, because it decodes in the dtype of the product, where bfloat16 holds no zero point
    of 8 bits, and because it keeps the input of a product until the gradient is taken.
    """

    def __init__(self, linear: nn.Linear, bits: int, quantizer: Any) -> None:
        super().__init__(linear)
        weight = linear.weight.detach()
        self.dtype = weight.dtype
        codes, zero, scale = _codes(weight.float().cpu(), bits, quantizer)
        packing = quantizer.bit_to_packing[bits]
        self.packed = quantizer.pack[packing](codes).to(weight.device)
        self.zero, self.scale = zero.to(weight.device), scale.to(weight.device)
        self._unpack = quantizer.unpack[packing]

    def matrix(self) -> Tensor:
        """The decoded weights, (out_features, in_features) in the dtype that they had before quantisation."""
        codes = self._unpack(self.packed, dtype=torch.float32)[: len(self.zero)]
        return ((codes - self.zero) * self.scale).flatten()[: self.shape.numel()].view(self.shape).to(self.dtype)


def _codes(weight: Tensor, bits: int, quantizer: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Codes (groups, 64) uint8, zero points and scales, both (groups, 1) float32, of a float32 matrix on the CPU.

    Always on the CPU and in pieces of 16,384 weights, so that the bits are the same on every machine: on a GPU hqq
    searches in float16, and it stops by a mean over all weights, which torch shares among threads from 32,768 on (no
    matrix was seen in which that changed a code). Pieces that fit a core's cache take a third of the time, too: 0.08 s
    a million weights against 0.25 s.
    """
    flat = weight.reshape(-1)
    groups = F.pad(flat[None], (0, -len(flat) % (_TOGETHER * GROUP)), mode="replicate").view(-1, GROUP)
    parts = [_piece(piece, bits, quantizer) for piece in groups.split(PIECE)]
    codes, zero, scale = (torch.cat(part) for part in zip(*parts, strict=True))
    return codes, zero, scale


def _piece(groups: Tensor, bits: int, quantizer: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The same of some groups.

    Each group is brought into +-1 by a power of two first, which changes no code of common weights: hqq lets no step
    be smaller than 5e-5, and a matrix of weights near 4e-4 in 8 bits would have five times the error, and no message.
    """
    unit = torch.frexp(groups.abs().amax(1, keepdim=True)).exponent
    codes, found = quantizer.quantize(
        torch.ldexp(groups, -unit), nbits=bits, group_size=GROUP, axis=1, round_zero=bits == 4, bitpack=False,
        device="cpu",
    )  # fmt: skip
    return codes.to(torch.uint8), found["zero"], torch.ldexp(found["scale"], unit)
