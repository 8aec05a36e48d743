"""Attention to some of the keys: near ones and the special tokens, or blocks of them.

`global_attention` is that of Longformer (Beltagy et al. 2020): the two special tokens are where a trained model's heads
look when they look nowhere, and plain local attention takes them away. It goes by blocks of queries and not by a merge
of two passes with their log-sum-exps, because torch gives no gradient through the latter.

`bigbird_attention` is that of BigBird (Zaheer et al. 2020): blocks of tokens around a query's own, blocks at both ends
that see all and are seen by all, and random ones. Random keys carry no meaning for a model that was trained without.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from protea_ray.encoder.transfer import to_device

QUERY_BLOCK = 512  # queries of one call: the keys of a block are 2 W more


def global_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, window: int) -> Tensor:
    """Residues see those at most `window` away and the special tokens at both ends; these see all.

    Shapes: (1, H, L, d) in and out. Memory beyond that: one block's (512, 512 + 2 W) mask and its keys.
    """
    length = q.shape[2]
    if window >= length - 3:  # all residues see each other
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    ends = F.scaled_dot_product_attention(q[:, :, :: length - 1], k, v, scale=scale)
    residues: list[Tensor] = []
    for i in range(1, length - 1, QUERY_BLOCK):
        j = min(i + QUERY_BLOCK, length - 1)
        a, e = max(1, i - window), min(length - 1, j + window)
        near, keys, values = _near_and_ends(i, j, a, e, window, q.device), _with_ends(k, a, e), _with_ends(v, a, e)
        residues.append(F.scaled_dot_product_attention(q[:, :, i:j], keys, values, attn_mask=near, scale=scale))
    return torch.cat([ends[:, :, :1], *residues, ends[:, :, 1:]], 2)


def _with_ends(x: Tensor, a: int, e: int) -> Tensor:
    """Rows [a, e) between the first row and the last."""
    return torch.cat([x[:, :, :1], x[:, :, a:e], x[:, :, -1:]], 2)


def _near_and_ends(i: int, j: int, a: int, e: int, window: int, device: torch.device) -> Tensor:
    """(j - i, e - a + 2), True where query [i, j) sees key [a, e): at most `window` apart, or one of the two ends."""
    distance = torch.arange(a, e, device=device) - torch.arange(i, j, device=device)[:, None]
    return F.pad(distance.abs() <= window, (1, 1), value=True)


def bigbird_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, block: int, near: int, ends: int, random: int, seed: int
) -> Tensor:
    """Each block of `block` queries sees `near` blocks around its own, `ends` at either end and `random` others.

    The blocks at the ends see all. Shapes: (1, H, L, d) in and out; the last block may be shorter. Keys are gathered
    for one block of queries at a time.
    """
    length = q.shape[2]
    starts = [*range(0, length, block), length]
    seen = key_blocks(len(starts) - 1, near, ends, random, seed)
    out: list[Tensor] = []
    for number, (rows, (i, j)) in enumerate(zip(_rows_of(seen, starts, q.device), pairwise(starts), strict=True)):
        whole = len(seen[number]) == len(seen)
        keys, values = (k, v) if whole else (k.index_select(2, rows), v.index_select(2, rows))
        out.append(F.scaled_dot_product_attention(q[:, :, i:j], keys, values, scale=scale))
    return torch.cat(out, 2)


@lru_cache(maxsize=64)
def key_blocks(count: int, near: int, ends: int, random: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """The key blocks that each of `count` query blocks sees, in order.

    Of an even `near` the extra block comes after the query's own. Random blocks are drawn from those that are not seen
    already, by `seed` and `count` alone: the same in every layer, whatever else is in the pack. Fewer are drawn where
    fewer are left.

    >>> key_blocks(6, near=3, ends=1, random=1, seed=0)[0]
    (0, 1, 2, 3, 4, 5)
    >>> key_blocks(6, near=1, ends=0, random=0, seed=0)
    ((0,), (1,), (2,), (3,), (4,), (5,))
    """
    draw = np.random.default_rng([seed, count])
    at_ends = {*range(min(ends, count)), *range(max(0, count - ends), count)}
    return tuple(
        tuple(range(count)) if number in at_ends else _seen_by(number, count, near, at_ends, random, draw)
        for number in range(count)
    )


def _seen_by(
    number: int, count: int, near: int, at_ends: set[int], random: int, draw: np.random.Generator
) -> tuple[int, ...]:
    around = range(max(0, number - (near - 1) // 2), min(count, number + near // 2 + 1))
    seen = at_ends | set(around)
    left = np.setdiff1d(np.arange(count), sorted(seen))
    drawn = draw.choice(left, min(random, len(left)), replace=False) if len(left) else left
    return tuple(sorted(seen | set(drawn.tolist())))


def _rows_of(seen: tuple[tuple[int, ...], ...], starts: list[int], device: torch.device) -> list[Tensor]:
    """The rows of each query block's keys, copied to the device together; empty where a block sees all."""
    lists = [
        np.concatenate([np.arange(starts[b], starts[b + 1]) for b in blocks])
        if len(blocks) < len(seen)
        else np.empty(0, np.int64)
        for blocks in seen
    ]
    rows = to_device(np.concatenate(lists), device)
    return [rows[a:b] for a, b in pairwise([0, *accumulate(map(len, lists))])]
