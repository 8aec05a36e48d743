"""The matrices in the layers of an encoder: seen, replaced, and what comes out of them for a few proteins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protea_ray.encoder.encoder import Encoder
from tests.encoder.conftest import load, proteins

FIELDS = {"pooling": ("none",)}
PROTEINS = proteins(40, 7, 90, 1, 130, 60, 33, 200)
MATRICES = {"esm2": 18, "esmc": 21, "t5": 18, "prostt5": 18, "ankh": 21}  # of 3 layers


def states(encoder: Encoder) -> Tensor:
    """The last state of all residues of all proteins, packed together."""
    found = {result.index: result.residues[0] for result in encoder.embed(PROTEINS)}
    return torch.from_numpy(np.concatenate([found[i] for i in range(len(PROTEINS))]))


def likeness(found: Tensor, expected: Tensor) -> float:
    centre = expected.mean(0)
    return float(F.cosine_similarity(found - centre, expected - centre).mean())


def rebuilt(directory: Path, change: Callable[[nn.Linear], nn.Module]) -> Encoder:
    """The float32 encoder with its matrices changed by the test, in the order of the module."""
    encoder = load(directory, FIELDS)
    for layer in encoder.core.stack.layers:
        for name, linear in [(n, m) for n, m in layer.named_modules() if isinstance(m, nn.Linear)]:
            layer.set_submodule(name, change(of_torch(linear)))
    return encoder


def of_torch(linear: nn.Linear) -> nn.Linear:
    """The same weights under torch's own product, whoever multiplied before."""
    made = nn.Linear(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
    made.weight, made.bias = linear.weight, linear.bias
    return made


def alone(encoder: Encoder) -> Tensor:
    """The same states with one protein a pass."""
    return states(replace(encoder, token_budget=1))


def parts(encoder: Encoder, kind: type) -> list[Any]:
    return [part for layer in encoder.core.stack.layers for part in layer.modules() if isinstance(part, kind)]


def inside(encoder: Encoder) -> list[tuple[str, Tensor]]:
    """All parameters of the module but the matrices of its layers: embeddings, norms, biases, heads."""
    matrices = {id(linear.weight) for linear in parts(encoder, nn.Linear)}
    return [(name, p) for name, p in encoder.module.named_parameters() if id(p) not in matrices]
