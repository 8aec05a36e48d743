"""The one attention function of all families: proteins packed side by side, none sees another, nothing is padded.

transformers' modules call `attend` for every layer (it is registered as the implementation "protea"). Stock attention
on a packed row would mix proteins and report nothing: the error is 1.6 at an output deviation of 1.0.

| kernel | where | cost above the weights |
|---|---|---|
| sdpa | CPU, and CUDA float32: one scaled-dot-product call for each protein | 24 MiB at L = 16,384 |
| toeplitz | with a relative bias: a strided view, never (heads, L, L); on CUDA by 512 queries | 53 MiB at L = 8,192 |
| varlen | CUDA half precision without bias: one flash kernel for the pack | none |
| flex | CUDA half precision with bias: the bias inside the kernel, blocks of other proteins skipped | a block mask |

`choose` picks the kernel, `attend` runs it: `varlen` and `biased` are custom ops, so that torch.compile sees one opaque
call for every pack. `attend_flex` is `flex_attention` (Dong et al. 2024), which skips blocks of 128 x 128 in which no
query may see a key. Its block mask is built from the row boundaries, because `create_block_mask` writes out T x T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from protea_ray.config.attention import AttentionVariant
from protea_ray.encoder.feature_maps import hedgehog
from protea_ray.encoder.transfer import to_device
from protea_ray.errors import EncoderError

HALF = ("float16", "bfloat16")
QUERY_BLOCK = 512  # queries of one local-attention call
EXACT = AttentionVariant("exact")
BLOCK = 128  # queries and keys of one block of flex_attention


@dataclass(frozen=True)
class Choice:
    """The attention kernel in use and the reason, for the run card and `protea-ray doctor`."""

    name: str
    why: str


def choose(device: Any, dtype: Any, has_bias: bool, asked: str = "auto", head_dim: int | None = None) -> Choice:
    """The kernel for a device, a dtype and a family with or without relative bias.

    `asked` is auto or the name of a kernel. Raises EncoderError, with the kernels that can run there, when it cannot.
    """
    kind, precision = str(device).split(":")[0], str(dtype).removeprefix("torch.")
    possible = _possible(kind, precision, has_bias, head_dim)
    if asked == "auto":
        return possible[0]
    for choice in possible:
        if choice.name == asked:
            return Choice(asked, "asked for")
    names = ", ".join(choice.name for choice in possible)
    bias = "a relative bias" if has_bias else "no bias"
    raise EncoderError(f"attention {asked!r} cannot run on {kind} in {precision} with {bias}; use {names}")


def _possible(kind: str, precision: str, has_bias: bool, head_dim: int | None) -> list[Choice]:
    """The kernels that can run there, the fastest first."""
    fused = Choice("flex", "the only fused kernel that takes a relative bias")
    if has_bias:
        view = Choice("toeplitz", "one exact call for each protein, the bias a view of O(L) memory")
        fast_in_half = kind == "cuda" and precision in HALF  # an H100 in float32: 2.3 s with flex, 0.24 by the view
        return [fused, view] if fast_in_half else [view, fused]
    sliced = Choice("sdpa", f"one exact call for each protein; the fastest for {kind} in {precision}")
    if kind == "cuda" and precision in HALF and (head_dim or 8) % 8 == 0:
        return [Choice("varlen", "one flash kernel for the whole pack"), sliced, fused]
    return [sliced, fused]


def register() -> None:
    """Register `attend` with transformers under the name "protea"; a second call changes nothing.

    No mask function may be registered with it: without one transformers builds no mask and passes our keywords on.
    """
    from transformers import AttentionInterface

    AttentionInterface.register("protea", attend)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None,
    scaling: float | None = None, dropout: float = 0.0, position_bias: Tensor | None = None,
    cu_seqlens: Tensor | None = None, max_len: int = 0, variant: AttentionVariant = EXACT, kernel: str = "sdpa",
    block_mask: Any = None, record: Callable[[Tensor], None] | None = None, **_: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention of one pack: query, key, value (1, H, T, d) in, (1, T, H, d) out, as transformers wants it.

    `cu_seqlens` is (n + 1,) int32: the first row of each window, and T. `variant` says which keys a query sees.
    `position_bias` is the (H, 2D + 1) table of `t5.relative_bias`. `record` is called with the explicit
    weights of each layer. Raises EncoderError on a call without `cu_seqlens`, and for gradients with a bias.
    """
    if cu_seqlens is None:
        raise EncoderError("this module was loaded for packed proteins; run it with protea_ray.encoder.encoder.Encoder")
    scale = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
    window = variant.window
    if record is not None:
        return _explicit(query, key, value, position_bias, window, scale, record), None
    if variant.kind == "hedgehog":
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        return _by_window(q, k, v, cu_seqlens, lambda a, b, c: hedgehog(module, a, b, c, scale))[None], None
    is_training = (torch.is_grad_enabled() and query.requires_grad) or torch.is_autocast_enabled(query.device.type)
    if kernel == "flex" and not is_training:
        return attend_flex(query, key, value, position_bias, block_mask, scale).transpose(1, 2), None
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    if is_training:
        if position_bias is not None:
            raise EncoderError("T5 and Ankh cannot be trained here: their position bias has no gradient in a pack")
        out = _attend_in_training(q, k, v, cu_seqlens, max_len, window, scale, kernel == "varlen")
    elif position_bias is None:
        out = torch.ops.protea.varlen(q, k, v, cu_seqlens, max_len, window, scale, kernel == "varlen")
    else:
        out = torch.ops.protea.biased(q, k, v, position_bias, cu_seqlens, window, scale)
    return out[None], None


def _attend_in_training(
    q: Tensor, k: Tensor, v: Tensor, cu: Tensor, max_len: int, window: int, scale: float, fused: bool
) -> Tensor:
    """`varlen` for training: the custom op has no gradients. Weights are never dropped out: flash attention cannot.

    Autocast ends here, because it would take a CPU back to half precision.
    """
    with torch.autocast(q.device.type, enabled=False):
        if fused or q.is_cuda:
            q, k = q.to(v.dtype), k.to(v.dtype)  # ESM-C norms them, and autocast leaves norms in float32
        return _flash(q, k, v, cu, max_len, window, scale) if fused else _uncompiled(q, k, v, cu, window, scale)


def _by_protein(q: Tensor, k: Tensor, v: Tensor, cu: Tensor, window: int, scale: float) -> Tensor:
    return _by_window(q, k, v, cu, lambda a, b, c: _window_attention(a, b, c, None, window, scale))


_uncompiled: Any = torch.compiler.disable(_by_protein)  # else it is compiled anew for every pack


def _flash(q: Tensor, k: Tensor, v: Tensor, cu: Tensor, max_len: int, window: int, scale: float) -> Tensor:
    """torch's flash kernel for a pack, (T, H, d) in half precision; opaque to torch.compile, with gradients."""
    from torch.nn.attention.varlen import varlen_attn

    out = varlen_attn(q, k, v, cu, cu, max_len, max_len, scale=scale, window_size=(window, window))
    return out if isinstance(out, Tensor) else out[0]


@torch.library.custom_op("protea::varlen", mutates_args=())
def varlen(q: Tensor, k: Tensor, v: Tensor, cu: Tensor, max_len: int, window: int, scale: float, fused: bool) -> Tensor:
    """Attention inside each window of a pack, (T, H, d); opaque to torch.compile, so packs never recompile."""
    if fused:
        return _flash(q, k, v, cu, max_len, window, scale)
    return _by_protein(q, k, v, cu, window, scale)


@torch.library.custom_op("protea::biased", mutates_args=())
def biased(q: Tensor, k: Tensor, v: Tensor, table: Tensor, cu: Tensor, window: int, scale: float) -> Tensor:
    """Attention inside each window of a pack, (T, H, d), with a relative bias from `table` (H, 2D + 1)."""
    return _by_window(q, k, v, cu, lambda a, b, c: _window_attention(a, b, c, table.to(a.dtype), window, scale))


@varlen.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, cu: Tensor, max_len: int, window: int, scale: float, fused: bool) -> Tensor:
    return torch.empty(q.shape, dtype=q.dtype, device=q.device)


@biased.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, table: Tensor, cu: Tensor, window: int, scale: float) -> Tensor:
    return torch.empty(q.shape, dtype=q.dtype, device=q.device)


def _by_window(q: Tensor, k: Tensor, v: Tensor, cu: Tensor, one: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """Apply `one` to every window of a pack (T, H, d); `one` takes and returns (1, H, L, d)."""
    dtype = q.dtype
    if q.device.type == "cpu":
        q, k, v = q.float(), k.float(), v.float()  # a bfloat16 call is no faster: 42 GFLOP/s against 48 (head dim 16)
    alone = ([x[a:b].transpose(0, 1)[None] for x in (q, k, v)] for a, b in pairwise(cu.tolist()))
    return torch.cat([one(*window)[0].transpose(0, 1) for window in alone]).to(dtype)


def _window_attention(q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, window: int, scale: float) -> Tensor:
    """Attention of one window, (1, H, L, d): exact, or |i - j| <= window in blocks of queries, O(L x window) memory."""
    length = q.shape[2]
    if window < 0 or window >= length - 1:
        if table is None:
            return F.scaled_dot_product_attention(q, k, v, scale=scale)
        if not q.is_cuda or length <= QUERY_BLOCK:
            bias = toeplitz(table, length)
            return F.scaled_dot_product_attention(q.flip(2), k, v, attn_mask=bias, scale=scale).flip(2)
        window = length  # CUDA's kernels copy a strided bias: 3.2 GB at L = 8,192 and 12 heads
    out: list[Tensor] = []
    for i in range(0, length, QUERY_BLOCK):
        j, a, e = min(i + QUERY_BLOCK, length), max(0, i - window), min(length, i + QUERY_BLOCK + window)
        mask = _near_mask(i, j, a, e, window, table, q.device)
        out.append(
            F.scaled_dot_product_attention(q[:, :, i:j], k[:, :, a:e], v[:, :, a:e], attn_mask=mask, scale=scale)
        )
    return torch.cat(out, 2)


def toeplitz(table: Tensor, length: int) -> Tensor:
    """The bias for flipped queries, (1, H, L, L), as a strided view of 2L - 1 numbers a head.

    Row i of the flipped queries is query L - 1 - i, so bias[i, j] depends on i + j alone: each row holds the numbers of
    the row before it, shifted by one.
    """
    reach = table.shape[1] // 2
    distance = torch.arange(1 - length, length, device=table.device).clamp(-reach, reach)
    return table[:, distance + reach].unfold(1, length, 1)[None]


def _near_mask(i: int, j: int, a: int, e: int, window: int, table: Tensor | None, device: torch.device) -> Tensor:
    """Mask of queries [i, j) against keys [a, e): True, or the bias of `table`, where at most `window` apart."""
    distance = torch.arange(a, e, device=device) - torch.arange(i, j, device=device)[:, None]
    near = distance.abs() <= window
    if table is None:
        return near
    reach = table.shape[1] // 2
    return table[:, distance.clamp(-reach, reach) + reach].masked_fill(~near, float("-inf"))[None]


def _explicit(
    q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, window: int, scale: float,
    record: Callable[[Tensor], None],
) -> Tensor:  # fmt: skip
    """One window with its weights (H, L, L) in float32 written out; memory grows with the square of L."""
    length = q.shape[2]
    scores = torch.matmul(q[0], k[0].transpose(1, 2)).float() * scale
    width = window if window >= 0 else length
    mask = _near_mask(0, length, 0, length, width, table, q.device)
    scores = scores.masked_fill(~mask, float("-inf")) if table is None else scores + mask[0]
    weights = scores.softmax(-1)
    record(weights)
    return torch.matmul(weights.to(v.dtype), v[0]).transpose(0, 1)[None]


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
