"""Nystrom attention (Xiong et al. 2021): all keys through M landmarks, the means of M segments of a protein.

softmax(q k') ~ softmax(q k~') pinv(softmax(q~ k~')) softmax(q~ k'), with ~ for landmarks. It is near where the keys of
a head lie in few directions, and can be far off where not: errors of 22 to 29 times the output were seen on random
keys. So each layer is checked on a few queries, and a protein whose error is large gets no vector.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from protea_ray.encoder.transfer import to_device

STEPS = 6  # of Newton-Schulz, as in the paper
EXACT_BELOW = 4  # up to so many tokens a landmark, exact attention costs no more
CHECKED = 32  # queries computed exactly
LARGEST_ERROR = 0.1  # of those, relative to the length of the exact outputs


def nystrom_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, landmarks: int) -> Tensor:
    """All keys through `landmarks`, or exactly where there are at most 4 tokens a landmark.

    Shapes: (1, H, L, d) in and out, float32. Memory beyond that: H M^2.
    """
    if is_approximated(q.shape[2], landmarks):
        return through_landmarks(q, k, v, scale, landmarks)
    return F.scaled_dot_product_attention(q, k, v, scale=scale)


def is_approximated(length: int, landmarks: int) -> bool:
    """Whether a window of `length` tokens goes through landmarks."""
    return length > EXACT_BELOW * landmarks


def through_landmarks(q: Tensor, k: Tensor, v: Tensor, scale: float, landmarks: int, steps: int = STEPS) -> Tensor:
    """The approximation itself, at any length from `landmarks` on; `steps` of the iteration for the pseudo-inverse."""
    few_q, few_k = segment_means(q, landmarks), segment_means(k, landmarks)
    middle = torch.softmax(few_q @ few_k.transpose(2, 3) * scale, -1)
    read = F.scaled_dot_product_attention(few_q, k, v, scale=scale)
    return F.scaled_dot_product_attention(q, few_k, pseudo_inverse(middle, steps) @ read, scale=scale)


def segment_means(x: Tensor, count: int) -> Tensor:
    """Means of `count` segments of the rows of (1, H, L, d), (1, H, count, d): the first L mod count are one longer."""
    short, longer = divmod(x.shape[2], count)
    at = longer * (short + 1)
    parts = (x[:, :, :at].unflatten(2, (longer, short + 1)), x[:, :, at:].unflatten(2, (count - longer, short)))
    return torch.cat([part.mean(3) for part in parts], 2)


def pseudo_inverse(a: Tensor, steps: int = STEPS) -> Tensor:
    """The Moore-Penrose inverse of each (M, M) matrix, by an iteration of products of third order (Razavi et al. 2014).

    It starts at A' / (|A|_1 |A|_inf), for which it converges. Singular values that are small when it ends count less.
    """
    z = a.transpose(-2, -1) / (a.sum(-2).amax(-1) * a.sum(-1).amax(-1))[..., None, None]  # weights are never below 0
    one = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    for _ in range(steps):
        product = a @ z
        z = 0.25 * z @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return z


def error_of_some(q: Tensor, k: Tensor, v: Tensor, out: Tensor, scale: float) -> Tensor:
    """Relative error of `out` over 32 of the L queries, all heads together, a scalar: drawn by L alone."""
    length = q.shape[2]
    drawn = np.random.default_rng(length).choice(length, min(CHECKED, length), replace=False)
    rows = to_device(np.sort(drawn), q.device)
    exact = F.scaled_dot_product_attention(q.index_select(2, rows), k, v, scale=scale)
    return (out.index_select(2, rows) - exact).norm() / exact.norm()
