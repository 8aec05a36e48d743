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
call for every pack. What is neither exact nor local (`encoder.variants`) goes protein by protein.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from protea_ray.config.attention_forms import EXACT, AttentionVariant
from protea_ray.encoder.flex import attend_flex
from protea_ray.encoder.variants import attend_variant, checked_error
from protea_ray.encoder.variants.nystrom import LARGEST_ERROR
from protea_ray.errors import ApproximationError, EncoderError

HALF = ("float16", "bfloat16")
QUERY_BLOCK = 512  # queries of one local-attention call


@dataclass(frozen=True)
class Choice:
    """The attention kernel in use and the reason, for the run card and `protea-ray doctor`."""

    name: str
    why: str


def choose(
    device: Any, dtype: Any, has_bias: bool, asked: str = "auto", head_dim: int | None = None,
    variant: AttentionVariant = EXACT,
) -> Choice:  # fmt: skip
    """The kernel for a device, a dtype and a family with or without relative bias.

    `asked` is auto or the name of a kernel. Raises EncoderError, with the kernels that can run there, when it cannot,
    and for a variant that takes no bias.
    """
    kind, precision = str(device).split(":")[0], str(dtype).removeprefix("torch.")
    if has_bias and not variant.is_masked_exactly:
        raise EncoderError(f"attention {variant} takes no relative bias; of T5 and Ankh use exact or local:W")
    possible = _possible(kind, precision, has_bias, head_dim) if variant.is_masked_exactly else [_sliced(variant)]
    if asked == "auto":
        return possible[0]
    for choice in possible:
        if choice.name == asked:
            return Choice(asked, "asked for")
    names = ", ".join(choice.name for choice in possible)
    bias = "a relative bias" if has_bias else "no bias"
    form = "" if variant == EXACT else f" as {variant}"
    raise EncoderError(f"attention {asked!r} cannot run{form} on {kind} in {precision} with {bias}; use {names}")


def _sliced(variant: AttentionVariant) -> Choice:
    return Choice("sdpa", f"{variant} is computed protein by protein")


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
    block_mask: Any = None, record: Callable[[Tensor], None] | None = None, layer_number: int = 0,
    certified: bool = True, **_: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention of one pack: query, key, value (1, H, T, d) in, (1, T, H, d) out, as transformers wants it.

    `cu_seqlens` is (n + 1,) int32: the first row of each window, and T. `variant` says which keys a query sees.
    `position_bias` is the (H, 2D + 1) table of `t5.relative_bias`. `record` is called with the explicit
    weights of each layer. Variants other than exact and local want `layer_number`; `certified` False leaves out the
    check of those that have one. Raises EncoderError on a call without `cu_seqlens`, for gradients with a bias and for
    weights that are never written out; ApproximationError.
    """
    if cu_seqlens is None:
        raise EncoderError("this module was loaded for packed proteins; run it with protea_ray.encoder.encoder.Encoder")
    scale = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
    window = variant.window
    if not variant.is_masked_exactly:
        if record is not None:
            raise EncoderError(f"{variant} never has its weights written out; maps need attention exact or local:W")
        check = certified and not torch.is_grad_enabled()
        packed = (x[0].transpose(0, 1) for x in (query, key, value))
        return _uncompiled_variant(*packed, cu_seqlens, variant, scale, module, layer_number, check)[None], None
    if record is not None:
        return _explicit(query, key, value, position_bias, window, scale, record), None
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


def _attend_by_variant(
    q: Tensor, k: Tensor, v: Tensor, cu: Tensor, variant: AttentionVariant, scale: float, module: Any, layer: int,
    check: bool,
) -> Tensor:  # fmt: skip
    """A variant in each window of a pack, (T, H, d), with gradients; raises ApproximationError where `check` fails."""
    errors: list[Tensor | None] = []

    def one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = attend_variant(variant, module, layer, q, k, v, scale)
        errors.append(checked_error(variant, q, k, v, out, scale) if check else None)
        return out

    with torch.autocast(q.device.type, enabled=False):
        out = _by_window(q.to(v.dtype), k.to(v.dtype), v, cu, one)
    if checked := {number: error for number, error in enumerate(errors) if error is not None}:
        found = torch.stack(list(checked.values())).tolist()  # waits for the device
        _require_near(dict(zip(checked, found, strict=True)), variant, layer)
    return out


_uncompiled_variant: Any = torch.compiler.disable(_attend_by_variant)


def _require_near(errors: Mapping[int, float], variant: AttentionVariant, layer: int) -> None:
    """Raise ApproximationError with the windows whose relative error is too large; NaN is reported as such later."""
    far = {
        number: f"layer {layer}: the outputs of {variant} are {error:.2f} of their length away from exact attention, "
        f"more than {LARGEST_ERROR}; use more landmarks, local:W or exact"
        for number, error in errors.items()
        if error > LARGEST_ERROR
    }
    if far:
        raise ApproximationError(far)


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
