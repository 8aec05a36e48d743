"""What only a GPU runs, on a CPU: torch's GPU functions are replaced by references that keep their contracts.

`flash` is written from the documentation of `varlen_attn`, with the same arguments, in numpy: a scale, a window or a
length that does not reach the kernel changes what comes out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from protea_ray.config.attention_forms import AttentionVariant
from protea_ray.encoder import attention, flex, pool
from protea_ray.encoder.attention import Choice
from protea_ray.encoder.encoder import Encoder
from tests.encoder.conftest import proteins

CUDA = torch.device("cuda", 1)
NO_BIAS = ("esm2", "esmc")
ROWS = np.array([0, 1, 40, 47, 130])


class OnCuda(Tensor):
    """A tensor that says that it lies on a GPU."""

    is_cuda = True  # type: ignore[assignment]


def flash(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int, *,
    scale: float | None = None, window_size: tuple[int, int] = (-1, -1),
) -> Tensor:  # fmt: skip
    """Attention of packed sequences, (T, H, d), in float64.

    The kernel looks at `max_q` queries and `max_k` keys of each sequence. Query i sees the keys from
    i - window_size[0] to i + window_size[1], where a side of -1 has no end.
    """
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert type(max_q) is type(max_k) is int
    q, k, v = (x.double().numpy() for x in (query, key, value))
    factor = q.shape[2] ** -0.5 if scale is None else scale
    left, right = (10**9 if side < 0 else side for side in window_size)
    out = np.full(q.shape, np.nan)
    bounds = zip(
        cu_seq_q[:-1].tolist(), cu_seq_q[1:].tolist(), cu_seq_k[:-1].tolist(), cu_seq_k[1:].tolist(), strict=True
    )
    for first, end, first_key, end_key in bounds:
        for i in range(min(end - first, max_q)):
            low, high = max(0, i - left), min(end_key - first_key, max_k, i + right + 1)
            keys = slice(first_key + low, first_key + high)
            scores = np.einsum("hd,jhd->hj", q[first + i], k[keys]) * factor
            weights = np.exp(scores - scores.max(1, keepdims=True))
            weights /= weights.sum(1, keepdims=True)
            out[first + i] = np.einsum("hj,jhd->hd", weights, v[keys])
    return torch.from_numpy(out).to(query.dtype)


@pytest.fixture
def flash_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", flash)


def states(run: Encoder, sequences: list[str]) -> list[np.ndarray]:
    results: Any = sorted(run.embed(sequences), key=lambda result: result.index)
    return [result.residues[0] for result in results]


@pytest.mark.usefixtures("flash_kernel")
@pytest.mark.parametrize("local", ["exact", "local:3", "local:40"])
@pytest.mark.parametrize("family", NO_BIAS)
def test_the_flash_kernel_gets_scale_window_and_lengths_of_the_family(family: str, local: str, encoder: Any) -> None:
    """Whole encoders: ESM-2 scales the queries itself and passes 1, ESM-C leaves the scale to the kernel."""
    run = encoder(family, {"pooling": ("none",), "attention": local})
    fused = replace(run, core=replace(run.core, choice=Choice("varlen", "a test")))
    sequences = proteins(33, 2, 90, 11)
    for one, other in zip(states(run, sequences), states(fused, sequences), strict=True):
        assert np.abs(one - other).max() < 1e-5


@pytest.mark.usefixtures("flash_kernel")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [-1, 0, 1, 7, 500])
@pytest.mark.parametrize("scaling", [None, 1.0, 0.3])
def test_the_flash_kernel_and_the_exact_one_agree(scaling: float | None, window: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(1, 3, int(ROWS[-1]), 8, generator=draw).to(dtype) for _ in range(3))
    cu = torch.from_numpy(ROWS.astype(np.int32))
    longest = int(np.diff(ROWS).max())
    both = [
        attention.attend(
            None,
            q,
            k,
            v,
            scaling=scaling,
            cu_seqlens=cu,
            max_len=longest,
            variant=AttentionVariant("local", (window,)) if window >= 0 else AttentionVariant("exact"),
            kernel=kernel,
        )[0]
        for kernel in ("varlen", "sdpa")
    ]
    assert both[0].dtype == both[1].dtype == dtype
    assert both[0].shape == (1, int(ROWS[-1]), 3, 8)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]  # two roundings of values up to 3
    assert (both[0].float() - both[1].float()).abs().max() < tolerance


def test_a_flash_kernel_of_older_torch_that_returns_two_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.11 returns (output, logsumexp); 2.13 the output alone."""
    q = torch.randn(5, 1, 8)
    cu = torch.tensor([0, 5], dtype=torch.int32)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda *a, **k: (flash(*a, **k), torch.zeros(5, 1)))
    assert torch.equal(attention.varlen(q, q, q, cu, 5, -1, 0.5, True), flash(q, q, q, cu, cu, 5, 5, scale=0.5))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("biased", [True, False])
def test_flex_is_compiled_once_on_a_gpu_and_for_any_length(biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[tuple[Any, dict[str, Any]]] = []

    def compiling(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        compiled.append((function, options))
        return lambda q, k, v, **given: function(q.as_subclass(Tensor), k, v, **given)

    monkeypatch.setattr(flex, "torch", SimpleNamespace(**vars(torch) | {"compile": compiling}))
    flex._compiled_flex.cache_clear()
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 130, 16, generator=draw) for _ in range(3))
    table = torch.randn(2, 9, generator=draw) if biased else None
    mask = flex.block_mask(ROWS, -1, torch.device("cpu"))
    expected = flex.attend_flex(q, k, v, table, mask, 0.7)
    assert not compiled
    run = [flex.attend_flex(q.as_subclass(OnCuda), k, v, table, mask, 0.7) for _ in range(2)]
    flex._compiled_flex.cache_clear()
    assert compiled == [(flex_attention, {"dynamic": True})]
    assert all((out - expected).abs().max() < 1e-5 for out in run)


@pytest.mark.parametrize(("peak", "spread"), [(True, False), (False, True), (True, True), (False, False)])
def test_poolings_of_a_gpu_are_those_of_a_cpu(peak: bool, spread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By segments: gaps, a residue twice, and stretches out of order."""
    taken = []
    segments = pool._segments
    monkeypatch.setattr(pool, "_segments", lambda *given: taken.append(given[2:]) or segments(*given))
    matrix = torch.randn(60, 5, generator=torch.Generator().manual_seed(3)) * 10 - 30  # all maxima below zero
    stretches = [(3, 4), (10, 30), (20, 57), (0, 2)]
    expected = pool.reduce(matrix, stretches, peak, spread)
    assert not taken
    reduced = pool.reduce(matrix.as_subclass(OnCuda), stretches, peak, spread)
    assert taken == [(peak, spread)]
    for name in ("total", "peak", "spread"):
        one, other = getattr(expected, name), getattr(reduced, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert torch.allclose(one, other.as_subclass(Tensor), rtol=1e-5, atol=1e-5)


def test_poolings_of_a_gpu_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch checks lengths, and sums them, on the host unless it is told not to: each would wait for the device."""
    asked: list[Any] = []
    reduced, repeated = torch.segment_reduce, Tensor.repeat_interleave

    def segment_reduce(*given: Any, unsafe: bool = False, **options: Any) -> Tensor:
        asked.append(unsafe)
        return reduced(*given, unsafe=unsafe, **options)

    def repeat_interleave(values: Tensor, *given: Any, output_size: int | None = None) -> Tensor:
        asked.append(output_size)
        return repeated(values, *given, output_size=output_size)

    monkeypatch.setattr(pool, "torch", SimpleNamespace(**vars(torch) | {"segment_reduce": segment_reduce}))
    monkeypatch.setattr(Tensor, "repeat_interleave", repeat_interleave)
    pool._segments(torch.randn(9, 2), [(0, 4), (6, 9)], True, True)
    assert asked == [True, True, 7, True]
