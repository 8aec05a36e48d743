"""Peers get the same model. ESME cannot run here (flash-attn, CUDA): a module of its published structure stands in."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.encoder import peers
from benchmarks.encoder.peers import esme, installed
from benchmarks.encoder.ways import ways
from protea_ray.testing.random_checkpoint import build
from tests.benchmarks.test_ways import SEQUENCES


class Attention(nn.Module):
    """Of one packed layer: norm, products, rotary positions by halves, attention scaled by 1 / sqrt(d)."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden)
        self.q, self.k, self.v, self.out = (nn.Linear(hidden, hidden) for _ in range(4))

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (part(y).unflatten(-1, (self.heads, -1)) for part in (self.q, self.k, self.v))
        found = [self._one(q[a:b], k[a:b], v[a:b]) for a, b in pairwise(ends.tolist())]
        return self.out(torch.cat(found).flatten(1))

    def _one(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1) for x in (rotated(q), rotated(k), v))
        return F.scaled_dot_product_attention(q[None], k[None], v[None])[0].transpose(0, 1)


def rotated(x: Tensor) -> Tensor:
    width = x.shape[-1]
    turn = torch.arange(len(x))[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    cos, sin = turn.cos()[:, None], turn.sin()[:, None]
    a, b = x[..., : width // 2], x[..., width // 2 :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Layer(nn.Module):
    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(hidden, heads)
        inner = nn.Linear(hidden, 4 * hidden)
        self.final = nn.Sequential(nn.LayerNorm(hidden), inner, nn.GELU(), nn.Linear(4 * hidden, hidden))

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        x = x + self.self_attn(x, ends)
        return x + self.final(x)


class ESM2(nn.Module):
    def __init__(self, layers: int, hidden: int, heads: int, dtype: Any) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(33, hidden)
        self.layers = nn.ModuleList([Layer(hidden, heads) for _ in range(layers)])
        self.emb_layer_norm_after = nn.LayerNorm(hidden)
        self.to(dtype)

    def forward_representation(self, tokens: Tensor, pad_args: tuple[Tensor, int]) -> Tensor:
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, pad_args[0])
        return self.emb_layer_norm_after(x)


def test_esme_gets_every_weight_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its vectors are those of plain transformers: a weight in the wrong place would move them by about 1."""
    package, module = ModuleType("esme"), ModuleType("esme.esm")
    module.ESM2 = ESM2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "esme", package)
    monkeypatch.setitem(sys.modules, "esme.esm", module)
    directory = build("esm2", tmp_path / "m")
    plain = next(ways(directory, "cpu", ["float32"])).load()(SEQUENCES)

    found = esme(directory, "cpu", "float32", 60)()(SEQUENCES)

    assert found.keys() == plain.keys()
    for sequence, vector in plain.items():
        np.testing.assert_allclose(found[sequence], vector, atol=1e-5)


def test_peers_take_part_where_they_are_and_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(model: str, device: str, dtype: str) -> list[str]:
        directory = build(model, tmp_path / model) if not (tmp_path / model).exists() else tmp_path / model
        return [name for name, _ in installed(directory, device, dtype, 2048)]

    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert names("esm2", "cuda", "float16") == []
    monkeypatch.setattr(peers, "find_spec", lambda name: object())
    assert names("esm2", "cuda", "float16") == ["FastPLMs embed_dataset", "ESME, packed"]
    assert names("esm2", "cpu", "float32") == ["FastPLMs embed_dataset"]
    assert names("esmc", "cuda", "float16") == []
