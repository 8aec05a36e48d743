"""Linear attention: a weight is a product of positive features of query and key, so keys are summed once for all.

The features of FAVOR+ (Performer, Choromanski et al. 2021) are random and estimate those of softmax without a bias:
exp(q k') is the mean over w of exp(w q - |q|^2 / 2) exp(w k - |k|^2 / 2), for w normal. Rows w are orthogonal within
blocks of d, which lowers the variance. The error falls with the root of their number.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from protea_ray.encoder.feature_maps import linear_attention
from protea_ray.encoder.transfer import to_device


def favor_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, features: int, seed: int, layer: int) -> Tensor:
    """All keys through `features` random features, the same for all heads of a `layer`.

    Shapes: (1, H, L, d) in and out, float32. Memory beyond that: L x features of one head at a time.
    """
    width = q.shape[3]
    rows = to_device(random_features(features, width, seed, layer), q.device)
    even = width**0.25  # the paper's split of 1 / sqrt(d): an estimate depends on how q and k share it
    heads = [
        linear_attention(*_features(a * scale * even, b / even, rows), c)
        for a, b, c in zip(q[0], k[0], v[0], strict=True)
    ]
    return torch.stack(heads)[None]


def _features(q: Tensor, k: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Features of one head's queries and keys, (L, R) each, up to factors that cancel in `linear_attention`.

    For each feature the largest logarithm over the keys is taken from the keys and given to the queries, and for each
    query the largest over features is taken away. So the sum that is divided by is at least 1, whatever the inputs.
    """
    logs = [x @ rows.T - (x * x).sum(-1, keepdim=True) / 2 for x in (q, k)]
    most = logs[1].detach().amax(0)
    of_query = logs[0] + most
    return torch.exp(of_query - of_query.detach().amax(1, keepdim=True)), torch.exp(logs[1] - most)


@lru_cache(maxsize=256)
def random_features(count: int, width: int, seed: int, layer: int) -> np.ndarray:
    """(count, width) float32: normal rows, orthogonal within each block of `width`; the same on every machine."""
    draw = np.random.default_rng([seed, layer, width])
    blocks = [_orthogonal(draw, width) for _ in range(-(-count // width))]
    lengths = np.linalg.norm(draw.standard_normal((count, width)), axis=1, keepdims=True)
    return (np.concatenate(blocks)[:count] * lengths).astype(np.float32)


def _orthogonal(draw: np.random.Generator, width: int) -> np.ndarray:
    """A uniformly random (width, width) rotation or reflection."""
    q, r = np.linalg.qr(draw.standard_normal((width, width)))
    return q * np.sign(np.diag(r))  # without it the signs are those of the library
