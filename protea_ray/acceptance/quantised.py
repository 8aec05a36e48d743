"""int8, int4 (nf4) and hqq against references in words: the arithmetic in float32, and what a half precision adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from protea_ray.acceptance.by_the_book import ByTheBook, nearest_step, nf4
from protea_ray.acceptance.difference import Difference, States, difference, packed_states
from protea_ray.acceptance.verdicts import AcceptanceReport, Measured, NotHereError
from protea_ray.acceptance.ways import load_encoder
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.packed_linear import PackedLinear
from protea_ray.errors import EncoderError
from protea_ray.testing.random_checkpoint import build

PART = "quantised"
HALF = "bfloat16"  # int8 overflows in float16
SWEEP, BITS = "hqq:4", 4
SHAPES: dict[str, dict[str, dict[str, int]]] = {
    "cuda": {
        "esm2": {"layers": 2, "hidden": 640, "heads": 20},
        "t5": {"layers": 2, "hidden": 512, "heads": 8, "d_kv": 128, "d_ff": 2048},
    },
    "cpu": {"esm2": {"layers": 2, "hidden": 64, "heads": 4}, "t5": {"layers": 2, "hidden": 64, "heads": 4}},
}
EXACT = 1e-5  # of the same float32 arithmetic written twice
OTHER_STEP = 2e-3  # int8: a number that rounds to the other step in one of two equal sums, 1/128 of one of many
SCALES = 0.02  # of a block's largest weight: bitsandbytes stores the scales of nf4 in 8 bits
NEAREST = 1.0  # of the error of rounding to the nearest of as many equal steps, which hqq's zero points lower by 4 %
FACTOR = 1.25  # of what two independent errors are together
BUDGET = 4096


@dataclass
class Quantised:
    """One family: its checkpoint, proteins, and the states of plain float32 and of the references."""

    family: str
    directory: Path
    device: str
    proteins: Sequence[str]
    states: dict[str, States] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)  # relative, of the references against plain float32


def check(report: AcceptanceReport, device: str, proteins: Sequence[str], scratch: Path, seconds: float) -> None:
    """Add the lines of each kind for a family without and one with a relative bias."""
    report.start(seconds)
    for family, shape in SHAPES[device].items():
        case = Quantised(family, scratch / f"quantised-{family}", device, proteins)
        if not report.run(PART, f"{family}, float32 as it is", lambda c=case, s=shape: _plain(c, s)):
            continue
        report.run(PART, f"{family} int8 float32, by the book", lambda c=case: _int8(c))
        report.run(PART, f"{family} int8 {HALF}", lambda c=case: _half(c, "int8", HALF))
        report.run(PART, f"{family} int4 float32, by the book", lambda c=case: _int4(c))
        report.run(PART, f"{family} int4 {HALF}", lambda c=case: _half(c, "int4", HALF))
        report.run(PART, f"{family} {SWEEP} float32, by the book", lambda c=case: _hqq(c))
        report.run(PART, f"{family} {SWEEP} {HALF}", lambda c=case: _half(c, SWEEP, HALF))


def _plain(case: Quantised, shape: dict[str, int]) -> Measured:
    build(case.family, case.directory, device=case.device, **shape)
    case.states["float32"] = packed_states(_load(case), case.proteins)
    rounded = packed_states(_load(case, dtype="bfloat16"), case.proteins)
    case.error["bfloat16"] = difference(rounded, case.states["float32"]).relative
    return Measured(None, message=f"bfloat16 alone moves it by {case.error['bfloat16']:.1e}")


def _int8(case: Quantised) -> Measured:
    """torchao's product on this device against one in words. Rounding to a step makes the tolerance a step's."""
    reference = _rebuilt(case, lambda _, linear: ByTheBook(linear))
    case.states["int8"] = packed_states(reference, case.proteins)
    case.error["int8"] = difference(case.states["int8"], case.states["float32"]).relative
    found = _found(case, quantization="int8")
    return Measured(
        found.worst, OTHER_STEP, case.error["int8"], message="baseline: the error of int8 itself", more=asdict(found)
    )


def _int4(case: Quantised) -> dict[str, Measured]:
    """The weights as stored against nf4 in words, and the products against float32 with those weights."""
    encoder = _quantised(case, "int4", "float32")
    stored, weights = _stored(encoder), _weights(case)
    away = max(float((a.float() - nf4(b)).abs().amax() / b.abs().amax()) for a, b in zip(stored, weights, strict=True))
    told = f"{len(stored)} matrices; their scales are stored in 8 bits"
    return {"weights": Measured(away, SCALES, message=told), "products": _products(case, "int4", encoder, stored)}


def _hqq(case: Quantised) -> dict[str, Measured]:
    """The error of the weights as stored against that of equal steps, and the products as those of int4."""
    encoder = _quantised(case, SWEEP, "float32")
    stored, weights = _stored(encoder), _weights(case)
    worst = max(
        float((a.float() - b).norm() / (nearest_step(b, BITS) - b).norm()) for a, b in zip(stored, weights, strict=True)
    )
    told = f"{len(stored)} matrices; their error by that of rounding to equal steps"
    return {"weights": Measured(worst, NEAREST, message=told), "products": _products(case, SWEEP, encoder, stored)}


def _stored(encoder: Encoder) -> list[Tensor]:
    """The decoded matrices of a quantised encoder, in the order of the module."""
    layers = encoder.core.stack.layers
    return [part.matrix() for layer in layers for part in layer.modules() if isinstance(part, PackedLinear)]


def _weights(case: Quantised) -> list[Tensor]:
    """The matrices before quantisation, in the same order."""
    layers = _load(case, products="torch").core.stack.layers
    return [part.weight.detach() for layer in layers for part in layer.modules() if isinstance(part, nn.Linear)]


def _products(case: Quantised, kind: str, encoder: Encoder, stored: Sequence[Tensor]) -> Measured:
    """The states of `encoder` against those of float32 with the weights as stored."""

    def write_out(number: int, linear: nn.Linear) -> nn.Module:
        linear.weight = nn.Parameter(stored[number].float(), requires_grad=False)
        return linear

    case.states[kind] = packed_states(_rebuilt(case, write_out), case.proteins)
    case.error[kind] = difference(case.states[kind], case.states["float32"]).relative
    found = difference(packed_states(encoder, case.proteins), case.states[kind])
    return Measured(
        found.worst, EXACT, case.error[kind], message=f"baseline: the error of {kind} itself", more=asdict(found)
    )


def _half(case: Quantised, kind: str, dtype: str) -> Measured:
    """Rounding and quantisation are independent, so their squares add up."""
    if kind not in case.error:
        raise NotHereError(f"{kind} in float32 did not run, so there is no tolerance")
    together = math.hypot(case.error[kind], case.error[dtype])
    found = difference(packed_states(_quantised(case, kind, dtype), case.proteins), case.states["float32"])
    return Measured(
        found.worst, FACTOR * together, together, message="baseline: the two errors apart", more=asdict(found)
    )


def _found(case: Quantised, **fields: Any) -> Difference:
    return difference(
        packed_states(_quantised(case, fields["quantization"], "float32"), case.proteins), case.states["int8"]
    )


def _quantised(case: Quantised, kind: str, dtype: str) -> Encoder:
    try:
        return _load(case, quantization=kind, dtype=dtype)
    except EncoderError as error:
        if "cannot be imported" in str(error):
            raise NotHereError(str(error)) from error
        raise


def _load(case: Quantised, **fields: Any) -> Encoder:
    recipe = {"dtype": "float32", "pooling": ["none"]} | fields
    return load_encoder(case.directory, case.device, compiled="off", token_budget=BUDGET, **recipe)


def _rebuilt(case: Quantised, change: Callable[[int, nn.Linear], nn.Module]) -> Encoder:
    """The float32 encoder with its matrices changed, in the order of the module."""
    encoder, number = _load(case, products="torch"), 0
    for layer in encoder.core.stack.layers:
        for name, linear in [(n, part) for n, part in layer.named_modules() if isinstance(part, nn.Linear)]:
            made = nn.Linear(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
            made.weight, made.bias = linear.weight, linear.bias  # torch's own product, whoever multiplied before
            layer.set_submodule(name, change(number, made))
            number += 1
    return encoder
