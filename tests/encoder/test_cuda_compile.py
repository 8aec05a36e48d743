"""Layers as the compiler of a GPU sees them, as far as that goes without one: their graphs, and how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from protea_ray.encoder.acceleration import compile_layers
from tests.encoder.conftest import load, proteins
from tests.encoder.fake_cuda import DEVICE, FakeGpu

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
BIASED = ("t5", "prostt5", "ankh")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[GraphModule]]:
    """The graphs that torch.compile makes, in place of code; a break would give two for one layer."""
    found: list[GraphModule] = []
    compiled = nn.Module.compile

    def backend(graph: GraphModule, inputs: Any) -> Callable[..., Any]:
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(nn.Module, "compile", lambda layer, **options: compiled(layer, backend=backend, **options))
    torch._dynamo.reset()
    yield found
    torch._dynamo.reset()


def operations(graph: GraphModule) -> list[str]:
    """Names of what a graph calls, its inner graphs included."""
    return [str(node.target) for part in parts(graph) for node in part.graph.nodes if node.op == "call_function"]


def parts(graph: GraphModule) -> list[GraphModule]:
    """A graph and the graphs inside of it, as flex_attention has them for bias and mask."""
    return [part for part in graph.modules() if isinstance(part, GraphModule)]


def attentions(graph: GraphModule) -> list[str]:
    return [name for name in operations(graph) if "protea" in name or "flex_attention" in name]


@pytest.mark.parametrize(("family", "count"), [("esm2", 1), ("esmc", 1), ("t5", 2), ("ankh", 2)])
def test_graphs_serve_all_layers_and_packs_of_any_length(
    family: str, count: int, checkpoint: Any, graphs: list[GraphModule]
) -> None:
    """On CPU tensors; what is traced does not depend on the device. The first block of T5 is another one: it holds the
    bias. A break inside of a layer would give more graphs, and one of them without attention.
    """
    run = load(checkpoint(family), {}, kernel="toeplitz" if family in BIASED else "sdpa")
    compile_layers(run.core.stack.layers)
    for lengths in ((30, 200, 5), (50,), (7, 7, 90)):
        assert len(list(run.embed(proteins(*lengths)))) == len(lengths)
    assert [len(attentions(graph)) for graph in graphs] == [1] * count


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("family", "kernel"),
    [("esm2", "varlen"), ("esmc", "varlen"), ("esm2", "flex"), *((f, k) for f in BIASED for k in ("toeplitz", "flex"))],
)
def test_the_graph_of_a_layer_has_no_tensor_of_the_host(
    family: str, kernel: str, dtype: str, checkpoint: Any, gpu: FakeGpu
) -> None:
    """A number of the host in a graph would be copied at every call; on a compiled path it also ends CUDA graphs."""
    directory = checkpoint(family)
    with gpu.mode:
        run = load(directory, {"dtype": dtype}, device="cuda:0", compiled="off", kernel=kernel)
        windows = [run.alphabet.window(run.alphabet.residues(sequence)) for sequence in proteins(30, 200)]
        pack = run.core.pack(windows)
        x, keywords = run.core.stack.begin(pack.ids, pack.positions, pack.cu_seqlens)
        keywords |= run.core._attention(pack)
        bias = {name: keywords.pop(name) for name in ("position_bias",) if name in keywords}
        layer = run.core.stack.layers[1]
        graph: Any = make_fx(lambda x, bias: layer(x, attention_mask=None, **keywords, **bias))(x, bias)
    made = [x for part in parts(graph) for node in part.graph.nodes for x in pytree.tree_leaves(node.meta.get("val"))]
    tensors = [x for x in made if isinstance(x, Tensor)]
    assert len(tensors) > 20
    assert {x.device for x in tensors} == {DEVICE}
    assert len(attentions(graph)) == 1
    copies = [node for part in parts(graph) for node in part.graph.nodes if "_to_copy" in str(node.target)]
    assert not [node for node in copies if "device" in node.kwargs]
