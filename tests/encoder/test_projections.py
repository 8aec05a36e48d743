"""Query, key and value by one product: the same numbers, one product in the graph, and what must be left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from protea_ray.encoder import quantize
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.projections import TakeLeft, join_projections
from tests.encoder.conftest import proteins

PRODUCTS = {"esm2": 6, "esmc": 7, "t5": 6, "ankh": 7}  # of one layer before: Q, K, V, output, and 2 or 3 of the MLP
SEQUENCES = proteins(1, 20, 33, 90, seed=4)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def states(run: Encoder, sequences: list[str] = SEQUENCES) -> list[np.ndarray]:
    results: Any = sorted(run.embed(sequences), key=lambda result: result.index)
    return [result.residues[0] for result in results]


@pytest.mark.parametrize("family", PRODUCTS)
def test_joined_projections_change_no_number(family: str, encoder: Any) -> None:
    plain, joined = (encoder(family, {"pooling": ("none",)}, products="torch") for _ in range(2))
    assert join_projections(joined.core.stack.layers) == len(joined.core.stack.layers)
    for mine, theirs in zip(states(joined), states(plain), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("family", PRODUCTS)
def test_compiled_layers_multiply_once_and_share_one_graph(family: str, encoder: Any) -> None:
    """A second graph would mean that each layer, or each length of a pack, is compiled anew."""
    run, counts = encoder(family, {"pooling": ("none",)}, products="torch"), []
    expected = states(run)
    join_projections(run.core.stack.layers)

    def count(graph: Any, inputs: Any) -> Any:
        counts.append(sum("mm" in str(node.target) for node in graph.graph.nodes if node.op == "call_function"))
        return graph.forward

    backend = aot_autograd(fw_compiler=count)  # one for all: the compiler compares backends, too
    for layer in run.core.stack.layers:
        layer.compile(dynamic=True, backend=backend)
    for mine, theirs in zip(states(run), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6 * np.abs(theirs).max())
    states(run, SEQUENCES[2:])
    assert counts == [PRODUCTS[family] - 2]


def test_nothing_is_held_between_packs(encoder: Any) -> None:
    """Key and value of the last layer would stay in memory beside the next pack."""
    run = encoder("esm2", {"pooling": ("none",)}, products="torch")
    join_projections(run.core.stack.layers)
    states(run)
    takers = [part for layer in run.core.stack.layers for part in layer.modules() if isinstance(part, TakeLeft)]
    assert len(takers) == 2 * len(run.core.stack.layers)
    assert all(part.left.key is None and part.left.value is None for part in takers)


class Odd(nn.Linear):
    """A Linear of another kind, as an adapter or a quantised layer is."""


@pytest.mark.parametrize("change", ["another class", "another input", "one without bias"])
def test_projections_that_are_not_alike_stay(change: str) -> None:
    part = nn.Module()
    part.query, part.key, part.value = (nn.Linear(8, 8) for _ in range(3))
    others = {"another class": Odd(8, 8), "another input": nn.Linear(4, 8), "one without bias": nn.Linear(8, 8, False)}
    part.key = others[change]
    assert join_projections([part]) == 0
    assert type(part.query) is nn.Linear


def test_quantised_projections_stay() -> None:
    """torchao's int8 is a Linear whose weight is a tensor of another class, which cannot be joined (seen on a GPU)."""
    part = nn.Module()
    part.query, part.key, part.value = (nn.Linear(32, 32) for _ in range(3))
    convert = quantize.method("int8", torch.float32)
    for name in ("query", "key", "value"):
        setattr(part, name, convert(getattr(part, name)))
    assert join_projections([part]) == 0
    assert part.query(torch.ones(1, 32)).shape == (1, 32)
