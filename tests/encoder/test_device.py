"""What device and recipe decide when an encoder is loaded and runs: dtype, kernels, memory, packs in flight.

No GPU is here, so what belongs to one is asked of an encoder that believes to be on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from protea_ray.config.attention_forms import attention_variant
from protea_ray.encoder import acceleration, batch, budget, quantize
from protea_ray.encoder import encoder as encoder_module
from protea_ray.encoder.attention import Choice
from protea_ray.encoder.encoder import Embedded, Encoder, Rejected
from protea_ray.errors import EncoderError
from protea_ray.models.families.base import Shape
from protea_ray.testing.random_checkpoint import FAMILIES, build
from tests.encoder.conftest import load, proteins

CUDA = torch.device("cuda", 1)
LOCAL = attention_variant("local:8")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_and_states_have_the_dtype_of_the_recipe(family: str, dtype: str, encoder: Any) -> None:
    """Without quantisation, in every family; transformers keeps `wo` of T5 in float32 under float16."""
    loaded = encoder(family, {})
    recipe = loaded.recipes[0].model_copy(update={"dtype": dtype})
    module = quantize.load(loaded.family, loaded.directory, recipe, torch.device("cpu"))
    asked = getattr(torch, dtype)
    others = {name for name, parameter in module.named_parameters() if parameter.dtype is not asked}
    assert all(name.endswith("DenseReluDense.wo.weight") and dtype == "float16" for name in others)
    plain = dict(loaded.module.named_parameters())
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter.float(), plain[name].to(parameter.dtype).float()), name
    rotary = [values for name, values in module.named_buffers() if name.endswith("inv_freq")]
    assert all(values.dtype is torch.float32 for values in rotary)


def test_states_are_computed_in_the_dtype_of_the_recipe(encoder: Any) -> None:
    for dtype in ("float32", "bfloat16"):
        core = encoder("esm2", {"dtype": dtype}).core
        pack = core.pack([np.array([0, 5, 6, 7, 2])])
        with torch.inference_mode():
            assert [state.dtype for _, state in core.states(pack, frozenset({1, 3}))] == [getattr(torch, dtype)] * 2


def test_int8_on_a_gpu_looks_at_the_sides_of_matrices_and_all_kinds_go_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = build("esm2", tmp_path / "odd", hidden=36, heads=6)
    run = load(directory, {})
    int8, int4, plain = (run.recipes[0].model_copy(update={"quantization": kind}) for kind in ("int8", "int4", None))
    quantised: list[torch.device] = []
    moved: list[torch.device] = []
    monkeypatch.setattr(quantize, "quantize", lambda layers, convert, place: quantised.append(place))
    monkeypatch.setattr(nn.Module, "to", lambda module, place: moved.append(place) or module)
    with pytest.raises(EncoderError, match="int8 on a GPU needs matrices whose sides are multiples of 8"):
        quantize.load(run.family, directory, int8, CUDA)
    assert (quantised, moved) == ([], [])  # before any is moved
    cpu = torch.device("cpu")
    for recipe, place in ((int8, cpu), (int4, CUDA), (plain, CUDA)):
        quantize.load(run.family, directory, recipe, place)
    assert (quantised, moved) == ([cpu, CUDA], [cpu, CUDA, CUDA])


def test_a_matrix_is_on_its_device_when_it_is_converted() -> None:
    """On a GPU both libraries convert there; the device never holds the whole model unquantised."""
    layers = [nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 16)) for _ in range(2)]
    seen: list[tuple[str, str]] = []

    def convert(linear: nn.Linear) -> nn.Module:
        later = [part.weight.device.type for layer in layers for part in layer if type(part) is nn.Linear]
        seen.append((linear.weight.device.type, later[-1]))
        return nn.Identity()

    assert quantize.quantize(layers, convert, torch.device("meta")) == 4
    assert seen == [("meta", "cpu")] * 3 + [("meta", "meta")]


def test_compiled_layers_take_every_length_and_keep_their_code_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "cache_directory", lambda: tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    asked: list[dict[str, Any]] = []
    acceleration.compile_layers([SimpleNamespace(compile=lambda **options: asked.append(options))] * 3)
    assert asked == [{"dynamic": True}] * 3
    assert acceleration.os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "compiled")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "of the person")
    acceleration.compile_layers([])
    assert acceleration.os.environ["TORCHINDUCTOR_CACHE_DIR"] == "of the person"


def test_what_the_encoder_asks_its_choices(checkpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Device, dtype, bias, head width, quantisation, kept width: each decides on a GPU, and most not on a CPU."""
    asked: dict[str, tuple[Any, ...]] = {}

    def recorded(name: str, answer: Any) -> Callable[..., Any]:
        return lambda *given: asked.setdefault(name, given) and answer

    monkeypatch.setattr(encoder_module, "choose", recorded("attention", Choice("toeplitz", "")))
    monkeypatch.setattr(encoder_module, "choose_compiling", recorded("compiling", Choice("eager", "")))
    monkeypatch.setattr(acceleration, "choose_product", recorded("product", Choice("torch", "")))
    monkeypatch.setattr(encoder_module, "default_budget", recorded("budget", 321))
    fields = {"dtype": "bfloat16", "quantization": "int4", "attention": str(LOCAL)}
    run = load(
        checkpoint("ankh"), fields, fields | {"pooling": ("mean_max",), "layers": (0, 1), "layer_agg": "concat"},
        kernel="flex", compiled="off", products="torch",
    )  # fmt: skip
    cpu = torch.device("cpu")
    assert asked == {
        "attention": (cpu, "bfloat16", True, "flex", run.shape.head_dim, LOCAL),
        "compiling": (cpu, "toeplitz", "int4", "off", LOCAL),
        "product": (cpu, "int4", False, "torch"),
        "budget": (cpu, run.shape, 2, 32 + 2 * 32, LOCAL),
    }
    assert run.token_budget == 321


# memory


@pytest.mark.parametrize(
    ("form", "more"),
    [
        ("local:8", 0),
        ("global:8", 4 * 4 * 128),  # query, key, value and output in float32
        ("favor:100,0", 4 * 4 * 128 + 4 * 4 * 100),  # and features of one head, before and after exp, of both
        ("hedgehog", 4 * 4 * 128 + 4 * 4 * 256),
    ],
)
def test_an_approximation_needs_more(form: str, more: int) -> None:
    shape = Shape(hidden=64, layers=1, heads=4, head_dim=32, ffn=300, vocabulary=33)
    plain, given = budget.bytes_of_token(shape, 2, 10), budget.bytes_of_token(shape, 2, 10, attention_variant(form))
    assert given == plain + more


def test_the_budget_of_a_gpu_is_a_share_of_what_is_free_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    shape = Shape(hidden=2560, layers=36, heads=40, head_dim=64, ffn=10240, vocabulary=33)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: asked.append(place) or (3 << 30, 80 << 30))
    tokens = budget.default_budget(CUDA, shape, 2, 2560)
    each = 2 * (3 * 2560 + 2 * 10240) + 2 * 4 * 2560  # 76,800 bytes by hand
    assert asked == [CUDA]
    assert tokens == int(0.6 * (3 << 30) / each) // 1024 * 1024 == 24 * 1024


@pytest.mark.parametrize(
    ("shape", "bytes_each"),
    [
        (Shape(hidden=64, layers=1, heads=4, head_dim=16, ffn=300, vocabulary=33, gated=True), 2 * (192 + 900) + 80),
        (Shape(hidden=64, layers=1, heads=4, head_dim=32, ffn=300, vocabulary=33), 2 * (192 + 768) + 80),
    ],
)
def test_the_worst_moment_of_a_layer(shape: Shape, bytes_each: int) -> None:
    """Three tensors of a gated feed-forward part, or six of a wide attention; then 10 numbers that are kept."""
    assert budget.bytes_of_token(shape, 2, 10) == bytes_each


class Pending:
    """A pack in flight that writes down when it is waited for."""

    def __init__(self, events: list[str], number: int) -> None:
        self.events, self.number = events, number

    def wait(self) -> list[batch.WindowResult]:
        self.events.append(f"wait {self.number}")
        return []


@pytest.mark.parametrize(
    ("device", "order"),
    [
        ("cpu", ["run 0", "wait 0", "run 1", "wait 1", "run 2", "wait 2"]),
        ("cuda", ["run 0", "run 1", "wait 0", "run 2", "wait 1", "wait 2"]),
    ],
)
def test_on_a_gpu_the_next_pack_is_queued_before_the_last_is_waited_for(
    device: str, order: list[str], encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def run(core: Any, plans: Any, windows: Any) -> Pending:
        events.append(f"run {len([e for e in events if e.startswith('run')])}")
        return Pending(events, int(events[-1][4:]))

    monkeypatch.setattr(batch, "run", run)
    small = on(torch.device(device), encoder("esm2", {}, token_budget=52))
    assert list(small.embed(proteins(50, 50, 50))) == []
    assert events == order


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_after_running_out_the_memory_of_a_gpu_is_given_back(
    device: str, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[int] = []

    def run(core: Any, plans: Any, windows: Any) -> Any:
        raise torch.OutOfMemoryError("not enough")

    monkeypatch.setattr(batch, "run", run)
    monkeypatch.setattr(torch.cuda, "empty_cache", partial(emptied.append, 1))
    results = list(on(torch.device(device), encoder("esm2", {}, token_budget=1000)).embed(proteins(50)))
    assert [type(result) for result in results] == [Rejected]
    assert emptied == ([1] if device == "cuda" else [])


def test_a_pack_below_the_budget_that_does_not_fit_halves_its_own_tokens(
    encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four windows of 52 tokens under a budget of 4,096, and room for 100: two halvings, not six."""
    ran = batch.run

    def run(core: Any, plans: Any, windows: Any) -> Any:
        if sum(len(window.ids) for window in windows) > 100:
            raise torch.OutOfMemoryError("not enough")
        return ran(core, plans, windows)

    monkeypatch.setattr(batch, "run", run)
    small = encoder("esm2", {}, token_budget=4096)
    assert len(list(small.embed(proteins(50, 50, 50, 50)))) == 4
    assert small.token_budget == 52
    assert (small.stats.out_of_memory, small.stats.forward_passes) == (2, 4)


def test_a_stored_matrix_does_not_keep_the_pack_that_it_was_in(encoder: Any) -> None:
    """Rows of a pack are copied: a view of 10 residues would hold the memory of all 300."""
    run = encoder("esm2", {"pooling": ("none",)})
    for result in run.embed(proteins(10, 90, 200)):
        assert isinstance(result, Embedded) and result.residues is not None
        (matrix,) = result.residues
        assert matrix.base is None or matrix.base.nbytes <= matrix.nbytes


def on(device: torch.device, run: Encoder) -> Encoder:
    """The same encoder, which believes to be on a device."""
    return replace(run, core=replace(run.core, device=device))
