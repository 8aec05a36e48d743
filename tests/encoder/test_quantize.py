"""int8 and int4: the arithmetic that is promised, in every matrix, for every family, and nothing left as it was.

Matrices have 96 inputs, no multiple of 64, as the 480 of ESM-2 35M are none.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protea_ray.acceptance.by_the_book import ByTheBook
from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.encoder import quantize
from protea_ray.encoder.canary import check_canaries
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.packed_linear import Nf4Linear
from protea_ray.errors import EncoderError
from protea_ray.pipeline.embed import embed
from protea_ray.testing.random_checkpoint import FAMILIES, build
from tests import stores
from tests.encoder.conftest import load
from tests.encoder.matrices import FIELDS, MATRICES, PROTEINS, alone, inside, likeness, parts, rebuilt, states
from tests.encoder.rounding import one_scale, seven_bits, three_bits

KINDS = ("int8", "int4")
EVERY = [pytest.param(family, kind, id=f"{family}-{kind}") for family in FAMILIES for kind in KINDS]

# mean cosine between a residue's state and that of float32, less the mean state; these weights are drawn so that
# errors grow from layer to layer, in T5 (no scaling of the scores) more than elsewhere
MEASURED = {
    ("esm2", "int8"): 0.99977, ("esmc", "int8"): 0.99975, ("t5", "int8"): 0.99814, ("prostt5", "int8"): 0.99725,
    ("ankh", "int8"): 0.99812, ("esm2", "int4"): 0.98241, ("esmc", "int4"): 0.98217, ("t5", "int4"): 0.84226,
    ("prostt5", "int4"): 0.85979, ("ankh", "int4"): 0.86273,
}  # fmt: skip


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return cache(lambda family: build(family, tmp_path_factory.mktemp(family) / "wide", hidden=96))


@pytest.fixture(scope="module")
def plain(wide: Callable[[str], Path]) -> Callable[[str], Tensor]:
    return cache(lambda family: states(load(wide(family), FIELDS)))


@pytest.fixture(scope="module")
def quantised(wide: Callable[[str], Path]) -> Callable[[str, str], Encoder]:
    return cache(lambda family, kind: load(wide(family), FIELDS | {"quantization": kind}))


def lost(cosine: float) -> float:
    """A bound half a bit from a measured cosine: a whole bit less doubles the error, 1 - cosine is its square."""
    return 1 - 2 * (1 - cosine)


def held(encoder: Encoder) -> int:
    """Bytes of the matrices in the layers, scales and tables included."""
    tensors = []
    for linear in parts(encoder, nn.Linear):
        weight = linear.weight
        names = weight.__tensor_flatten__()[0] if hasattr(weight, "qdata") else ()
        tensors += [getattr(weight, name) for name in names] or [weight]
    for linear in parts(encoder, Nf4Linear):
        of_scales = linear.state.state2
        tensors += [linear.packed, linear.state.absmax, linear.state.code, of_scales.absmax, of_scales.code]
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_close_to_float32_and_the_canaries_live(family: str, kind: str, quantised: Any, plain: Any) -> None:
    encoder = quantised(family, kind)
    assert likeness(states(encoder), plain(family)) > lost(MEASURED[family, kind])
    check_canaries(encoder)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bounds_would_see_a_lost_bit(family: str, wide: Any, plain: Any) -> None:
    for kind, change in (("int8", seven_bits), ("int4", three_bits)):
        assert likeness(states(rebuilt(wide(family), change)), plain(family)) < lost(MEASURED[family, kind])


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_is_by_the_book(family: str, quantised: Any, wide: Any) -> None:
    expected = states(rebuilt(wide(family), ByTheBook))
    assert (states(quantised(family, "int8")) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_int4_is_float32_arithmetic_with_the_weights_as_stored(family: str, quantised: Any, wide: Any) -> None:
    """In `wo` of T5, too, which transformers treats by the dtype of its weight."""
    encoder = quantised(family, "int4")
    stored = iter(parts(encoder, Nf4Linear))

    def write_out(linear: nn.Linear) -> nn.Module:
        linear.weight.data = next(stored).matrix()
        return linear

    expected = states(rebuilt(wide(family), write_out))
    assert (states(encoder) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_neighbours_do_not_matter(family: str, kind: str, quantised: Any) -> None:
    encoder = quantised(family, kind)
    difference = (states(encoder) - alone(encoder)).abs().max()
    assert difference == 0 if kind == "int8" else difference < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_one_scale_for_a_pack_would_be_seen(family: str, wide: Any) -> None:
    encoder = rebuilt(wide(family), one_scale)
    assert (states(encoder) - alone(encoder)).abs().max() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_is_smaller_and_nothing_else_changed(family: str, quantised: Any, wide: Any) -> None:
    plain = load(wide(family), FIELDS)
    shapes = [linear.weight.shape for linear in parts(plain, nn.Linear)]
    sizes, inner = sum(map(math.prod, shapes)), {name for name, _ in inside(plain)}
    assert held(plain) == 4 * sizes
    for kind, tensor in (("int8", nn.Linear), ("int4", Nf4Linear)):
        encoder = quantised(family, kind)
        assert len(parts(encoder, tensor)) == len(shapes) == MATRICES[family]
        assert len(parts(encoder, Nf4Linear)) == (MATRICES[family] if kind == "int4" else 0)
        assert dict(inside(encoder)).keys() == inner
        for name, parameter in inside(encoder):
            assert torch.equal(parameter, dict(inside(plain))[name]), name
    scales = 5 * sum(rows for rows, _ in shapes)  # a float32 scale and an int8 zero point for each output channel
    assert held(quantised(family, "int8")) == sizes + scales
    tables = sum(4 * 16 + 4 * 256 + 4 * math.ceil(math.prod(shape) / 64 / 256) for shape in shapes)
    assert held(quantised(family, "int4")) == sizes // 2 + sizes // 64 + tables


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_in_bfloat16_the_two_errors_add_up(family: str, kind: str, wide: Any, plain: Any) -> None:
    """Squared, as independent ones do; half a bit more is allowed."""
    rounded = load(wide(family), FIELDS | {"dtype": "bfloat16"})
    both = load(wide(family), FIELDS | {"dtype": "bfloat16", "quantization": kind})
    expected = MEASURED[family, kind] + likeness(states(rounded), plain(family)) - 1
    assert likeness(states(both), plain(family)) > lost(expected)


def test_in_float16_int8_is_refused_and_int4_converts_what_stays_in_float32(quantised: Any, plain: Any) -> None:
    """The recipe of a GPU. `wo` of T5 is float32 there, and transformers' own quantisers pass over it."""
    run = quantised("t5", "int4")
    int8, int4 = (run.recipes[0].model_copy(update={"dtype": "float16", "quantization": kind}) for kind in KINDS)
    encoder = Encoder.load(run.directory, run.family, [int4])
    assert len(parts(encoder, Nf4Linear)) == MATRICES["t5"]
    widths = [linear.matrix().dtype for linear in parts(encoder, Nf4Linear)]
    assert widths.count(torch.float32) == 3 and widths.count(torch.float16) == MATRICES["t5"] - 3
    assert likeness(states(encoder), plain("t5")) > lost(MEASURED["t5", "int4"])
    with pytest.raises(EncoderError, match="overflows in float16; set dtype to bfloat16"):
        Encoder.load(run.directory, run.family, [int8])


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [("int8", "torchao.quantization", "quantize"), ("int4", "bitsandbytes.functional", "quantize"),
     ("hqq:4", "hqq.core.quantize", "sweep")],
)  # fmt: skip
def test_a_missing_package_is_named_with_the_command(
    kind: str, module: str, extra: str, wide: Any, monkeypatch: Any
) -> None:
    package = module.split(".")[0]
    for name in (package, module):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EncoderError, match=rf"{kind} needs {package}.*pip install protea-ray\[{extra}\]"):
        load(wide("esm2"), FIELDS | {"quantization": kind})


def test_a_matrix_that_stays_as_it_is_refuses_the_model(wide: Any) -> None:
    encoder = load(wide("esm2"), FIELDS)
    encoder.core.stack.layers[1].mixer = nn.MultiheadAttention(8, 2)  # torchao passes over its output projection
    with pytest.raises(EncoderError, match=r"2 of 20 matrices .*\(layer 2 mixer.in_proj_weight, layer 2 mixer.out"):
        quantize.quantize(encoder.core.stack.layers, quantize.method("int8", torch.float32), torch.device("cpu"))
    with pytest.raises(EncoderError, match="0 of 0 matrices"):
        quantize.quantize([nn.LayerNorm(8)], quantize.method("int4", torch.float32), torch.device("cpu"))


def test_sides_that_a_gpu_cannot_multiply_are_refused(wide: Any) -> None:
    quantize.require_sides(load(wide("esmc"), FIELDS).core.stack.layers)
    with pytest.raises(EncoderError, match=r"1 are not \(0 \(16, 12\)\)"):
        quantize.require_sides([nn.Sequential(nn.Linear(12, 16))])


def test_packages_are_imported_only_when_asked_for_and_fetch_nothing(wide: Any) -> None:
    """In a process of its own; `kernels` is what bitsandbytes would fetch compiled code with."""
    code = f"""
import sys, types
import protea_ray
def embed(kind):
    protea_ray.embed_dataset(["MKT"], model={str(wide("esm2"))!r}, quantization=kind)
    print(*(name in sys.modules for name in ("transformers", "torchao", "bitsandbytes", "hqq")))
def fetch(*_, **__):
    sys.exit("fetched")
embed(None)
sys.modules["kernels"] = types.SimpleNamespace(get_kernel=fetch)
embed("int4")
print(sys.modules["kernels"].get_kernel is fetch)
embed("int8")
embed("hqq:2")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    seen = ["True False False False", "True False True False", "True", "True True True False", "True True True True"]
    assert done.stdout.splitlines() == seen, done.stderr
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_run_fills_a_space_of_its_own_with_what_the_encoder_gives(wide: Any, tmp_path: Path) -> None:
    source, store = tmp_path / "proteins.fasta", tmp_path / "store"
    source.write_text("".join(f">p{i}\n{sequence}\n" for i, sequence in enumerate(PROTEINS)))
    fields = {"model": str(wide("esm2")), "store_dtype": "float32"}
    spaces = []
    for kind in (None, "int8"):
        summary = embed([str(source)], str(store), run_config(fields | {"quantization": kind}), LineReporter())
        spaces.append(store / f"{summary.spaces[0].space}.lance")
    full, int8 = (stores.vectors(store, table=table) for table in spaces)
    letters = {sequence: key for key, sequence in stores.sequences(store).items()}
    assert full.keys() == int8.keys() == set(letters.values())
    for result in load(wide("esm2"), {"quantization": "int8"}).embed(PROTEINS):
        key = letters[PROTEINS[result.index]]
        np.testing.assert_allclose(int8[key], result.pooled["mean"][0], atol=1e-6)
        assert 1e-4 < np.abs(int8[key] - full[key]).max() < 0.1


# --- gradients through 4 bits ---------------------------------------------------------------------------------------


def four_bits(rows: int = 48, columns: int = 96, bias: bool = True) -> Any:
    torch.manual_seed(0)
    return quantize.method("int4", torch.float32)(nn.Linear(columns, rows, bias)).requires_grad_(False)


def through(product: Callable[[Tensor], Tensor], x: Tensor, autocast: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Result, gradient of the input, and all tensors that autograd kept between the two passes."""
    x, kept = x.clone().requires_grad_(), list[Tensor]()

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            result = product(x)
        result.backward(torch.linspace(-1, 1, result.numel()).view_as(result).to(result.dtype))
    assert x.grad is not None
    return result.detach(), x.grad, kept


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_gradient_is_that_of_the_decoded_matrix_and_no_matrix_is_kept(bias: bool, autocast: bool) -> None:
    layer, x = four_bits(bias=bias), torch.randn(1, 7, 96)
    matrix = layer.matrix()
    found, of_x, kept = through(layer, x, autocast)
    expected, by_autograd, by_torch = through(lambda x: F.linear(x, matrix, layer.bias), x, autocast)
    assert torch.equal(found, expected) and torch.equal(of_x, by_autograd)
    assert kept == [] and any(tensor.numel() == matrix.numel() for tensor in by_torch)


def test_a_bias_that_is_trained_gets_its_gradient() -> None:
    layer, x = four_bits(), torch.randn(2, 7, 96)
    layer.bias.requires_grad_(True)
    for given in (x, x.clone().requires_grad_()):
        (of_bias,) = torch.autograd.grad(layer(given).square().sum(), layer.bias)
        (expected,) = torch.autograd.grad(F.linear(given, layer.matrix(), layer.bias).square().sum(), layer.bias)
        assert (of_bias - expected).abs().max() < 1e-5 * expected.abs().max()
