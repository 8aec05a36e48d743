"""The kernel `flex`: `flex_attention` (Dong et al. 2024) on a pack, with a bias inside the kernel.

It skips blocks of 128 x 128 in which no query may see a key. Its block mask is built from the row boundaries, because
torch's `create_block_mask` writes out T x T.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from protea_ray.encoder.transfer import to_device

BLOCK = 128  # queries and keys of one block


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention, dynamic=True)


def attend_flex(q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, mask: BlockMask, scale: float) -> Tensor:
    """One pack, (1, H, T, d) in and out; `table` is the (H, 2D + 1) bias by distance, None for no bias."""
    run = _compiled_flex() if q.is_cuda else flex_attention
    if table is None:
        return run(q, k, v, block_mask=mask, scale=scale)
    reach = _scalar(table.shape[1] // 2, table.device)

    def add_bias(score: Tensor, batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + table[head, torch.minimum(torch.maximum(j - i, -reach), reach) + reach]

    return run(q, k, v, score_mod=add_bias, block_mask=mask, scale=scale)


def block_mask(rows: np.ndarray, window: int, device: torch.device) -> BlockMask:
    """Which blocks of keys each block of queries sees, from the (n + 1,) first rows of a pack's windows.

    `window` is the half width of local attention, -1 for exact. In a block where every pair is allowed the kernel does
    not look at single pairs.
    """
    live, full = _blocks(rows, window)
    protein = to_device(np.repeat(np.arange(len(rows) - 1), np.diff(rows)), device)

    width = _scalar(window if window >= 0 else int(rows[-1]), device)

    def allowed(batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (protein[i] == protein[j]) & ((i - j).abs() <= width)

    lists = (_block_lists(live & ~full, device), _block_lists(full, device))
    (counts, indices), (full_counts, full_indices) = lists
    total = int(rows[-1])
    return BlockMask.from_kv_blocks(
        counts, indices, full_counts, full_indices, BLOCK_SIZE=BLOCK, mask_mod=allowed, seq_lengths=(total, total)
    )


def _scalar(value: int, device: torch.device) -> Tensor:
    """A whole number as a tensor: in a closure a Python int becomes a symbol, which flex cannot lower (torch 2.13)."""
    return torch.full((), value, dtype=torch.int64, device=device)


def _blocks(rows: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Two boolean arrays (query blocks, key blocks): some pair of the block is allowed, every pair is allowed."""
    total = int(rows[-1])
    first = np.arange(0, total, BLOCK)
    last = np.minimum(first + BLOCK, total) - 1
    opening, closing = (np.searchsorted(rows, at, "right") - 1 for at in (first, last))
    low, high = rows[opening], rows[closing + 1] - 1  # keys that some query of the block may see
    start, stop = first[None], first[None] + BLOCK - 1
    whole = (opening == closing)[:, None] & (start >= low[:, None]) & (stop <= high[:, None])
    if window >= 0:
        low, high = np.maximum(low, first - window), np.minimum(high, last + window)
        furthest = np.maximum(last[:, None] - start, stop - first[:, None])
        whole &= furthest <= window
    live = (stop >= low[:, None]) & (start <= high[:, None])
    return live, whole


def _block_lists(blocks: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Number and indices of the True columns of each row, as flex wants them: (1, 1, n) and (1, 1, n, n)."""
    counts = blocks.sum(1).astype(np.int32)[None, None]
    indices = np.argsort(~blocks, axis=1, kind="stable").astype(np.int32)[None, None]
    return to_device(counts, device), to_device(indices, device)
