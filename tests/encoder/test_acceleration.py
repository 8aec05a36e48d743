"""Who multiplies the matrices, and that it changes no number that matters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from protea_ray.encoder.acceleration import JOINED, ONEDNN, TORCH, OneDnnLinear, choose_product, use_onednn
from protea_ray.models.families.fused import ACTIVATIONS, Activated
from protea_ray.testing.random_checkpoint import FAMILIES
from tests.encoder.conftest import proteins

here = pytest.mark.skipif(choose_product("cpu").name != ONEDNN, reason="no oneDNN on this machine")


def test_onednn_is_for_plain_matrices_of_an_x86_cpu(monkeypatch: Any) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert choose_product("cpu").name == ONEDNN
    assert choose_product("cpu", asked="torch").name == TORCH
    assert choose_product("cuda:0").name == JOINED
    assert choose_product("cuda:0", "int8").name == choose_product("cuda", asked="torch").name == TORCH
    assert choose_product("cpu", "int8").name == TORCH
    assert choose_product("mps").name == TORCH
    assert choose_product("cpu", is_compiled=True).name == TORCH
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert choose_product("cpu").name == TORCH


@here
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_a_product_is_that_of_float64(rows: int, bias: bool) -> None:
    """Against numpy in float64, at odd widths and for a slice with gaps between its rows."""
    torch.manual_seed(0)
    linear = nn.Linear(48, 37, bias=bias)
    x = torch.randn(1, rows, 96)[..., ::2]
    with torch.inference_mode():
        found = OneDnnLinear.like(linear)(x)[0].numpy()
    expected = x[0].double().numpy() @ linear.weight.detach().double().numpy().T
    expected += linear.bias.detach().double().numpy() if linear.bias is not None else 0
    assert np.abs(found - expected).max() < 1e-5


@here
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_in_the_same_pass_is_that_of_transformers(name: str) -> None:
    from transformers.activations import ACT2FN

    torch.manual_seed(1)
    linear = nn.Linear(64, 96)
    x = torch.randn(1, 300, 64) * 3
    with torch.inference_mode():
        expected = ACT2FN[name](linear(x))
        assert (Activated(linear, name)(x) - expected).abs().max() < 1e-5
        assert (Activated(OneDnnLinear.like(linear), name)(x) - expected).abs().max() < 1e-5


@here
def test_weights_are_shared_and_not_copied() -> None:
    """Actors of a node share the pages of the file; a packed copy would belong to each."""
    dense = nn.Linear(8, 8)
    layer = nn.Sequential(dense, nn.LayerNorm(8))
    use_onednn([layer])
    (made,) = [m for m in layer if isinstance(m, nn.Linear)]
    assert type(made) is OneDnnLinear
    assert made.weight.data_ptr() == dense.weight.data_ptr()


@here
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_changes_no_number(family: str, dtype: str, encoder: Any) -> None:
    """Every layer's matrices are multiplied by it, and vectors are those of torch's products."""
    sequences = proteins(3, 90, 200, 7, 130, 45, 61)
    run = encoder(family, {"dtype": dtype})
    linears = [m for layer in run.core.stack.layers for m in layer.modules() if isinstance(m, nn.Linear)]
    assert linears
    assert all(type(m) is OneDnnLinear for m in linears)
    assert run.products.name == ONEDNN
    found = {r.index: r.pooled["mean"] for r in run.embed(sequences)}
    other = encoder(family, {"dtype": dtype}, products="torch")
    assert (other.products.name, other.products.why) == (TORCH, "asked for")
    assert not any(isinstance(m, OneDnnLinear) for layer in other.core.stack.layers for m in layer.modules())
    for result in other.embed(sequences):
        assert np.abs(result.pooled["mean"] - found[result.index]).max() < {"float32": 1e-5, "bfloat16": 2e-2}[dtype]
