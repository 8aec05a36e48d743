"""Every family by every kernel that can run here, in every precision, packed, against plain transformers in float32.

Real widths, four layers, weights drawn so wide that a leak between neighbours is 0.1. The tolerance of float32 is
absolute; that of a half precision is what plain transformers in that precision does to the same proteins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protea_ray.acceptance.difference import Difference, States, chosen, difference, packed_states, plain_states
from protea_ray.acceptance.verdicts import AcceptanceReport, Measured, NotHereError
from protea_ray.acceptance.ways import family_of, load_encoder, opened
from protea_ray.encoder.attention import choose
from protea_ray.errors import EncoderError
from protea_ray.testing.random_checkpoint import build

PART = "numbers"
WIDE: dict[str, dict[str, int]] = {
    "esm2": {"layers": 4, "hidden": 1280, "heads": 20},
    "esmc": {"layers": 4, "hidden": 1152, "heads": 18},
    "ankh": {"layers": 4, "hidden": 768, "heads": 12},
    "t5": {"layers": 4, "hidden": 1024, "heads": 32, "d_kv": 128, "d_ff": 16384},
}
NARROW = {family: {"layers": 2, "hidden": 32, "heads": 4} for family in WIDE}
LENGTHS = {"cuda": (1, 2, 127, 128, 1022, 2048, 4100, 8192), "cpu": (1, 2, 63, 64, 130)}
KERNELS = ("varlen", "sdpa", "toeplitz", "flex")
FLOAT32, FLOAT32_LONG = 2e-5, 1e-4  # with a bias, past LONG residues: sums of 8,192 terms round in another order
LONG = 4096
HALF_FACTOR = 1.25  # of the error of plain transformers in the same precision
BUDGET = {"cuda": 16_384, "cpu": 512}  # tokens of a pack


@dataclass
class Case:
    """One family on one device: its checkpoint, the proteins, and what plain transformers gives for them."""

    family: str
    directory: Path
    device: str
    proteins: Sequence[str]
    expected: States = field(default_factory=list)
    plain: dict[str, Difference] = field(default_factory=dict)
    finite: dict[str, States] = field(default_factory=dict)


def kernels(device: str, dtype: str, has_bias: bool, head_dim: int) -> list[str]:
    """The kernels that the encoder can use there, the one that it chooses by itself first."""
    found = [choose(device, dtype, has_bias, head_dim=head_dim).name]
    for name in KERNELS:
        try:
            choose(device, dtype, has_bias, name, head_dim)
        except EncoderError:
            continue
        found.append(name)
    return list(dict.fromkeys(found))


def check(report: AcceptanceReport, device: str, proteins: Sequence[str], scratch: Path, seconds: float) -> None:
    """Add the lines of all families; each family has its share of `seconds` and of what earlier ones left."""
    for number, (family, shape) in enumerate((WIDE if device == "cuda" else NARROW).items()):
        report.start(seconds / len(WIDE), adding=number > 0)
        case = Case(family, scratch / f"numbers-{family}", device, proteins)
        if report.run(PART, f"{family}, plain transformers in float32", lambda c=case, s=shape: _expect(c, s)):
            _check_family(report, case)
        else:
            report.not_run(PART, f"{family}, every kernel", "there is nothing to compare with")


def _check_family(report: AcceptanceReport, case: Case) -> None:
    for dtype in ("float32", *halves(case.device)):
        if dtype != "float32":
            report.run(PART, f"{case.family} {dtype}, plain transformers", lambda d=dtype: _plain(case, d))
    if case.device == "cuda":
        report.run(PART, f"{case.family}, float64 on the two longest", lambda: _against_float64(case))
    for name, work in lines(case):
        report.run(PART, name, work)
    if case.device == "cpu":
        report.not_run(PART, f"{case.family}, compiled layers", "a CPU gains nothing from them")


def halves(device: str) -> tuple[str, ...]:
    """The half precisions of a device."""
    return ("float16", "bfloat16") if device == "cuda" else ("bfloat16",)


def lines(case: Case) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(name, work) of every kernel: first what the encoder chooses by itself, in every precision, then the rest.

    Compiled are the layers around the chosen kernel and around one other; what flex compiles itself is enough for it.
    """
    shape, bias = opened(case.directory).shape, family_of(case.directory).has_bias
    wanted: list[tuple[int, str, str, str]] = []
    for dtype in (*halves(case.device), "float32"):
        found = kernels(case.device, dtype, bias, shape.head_dim)
        others = [name for name in found if name != "flex"]
        compiled = others[:2] if dtype == "bfloat16" else others[:1]
        for number, kernel in enumerate(found):
            wanted.append((number, dtype, kernel, "off"))
            if case.device == "cuda" and kernel in compiled:
                wanted.append((number, dtype, kernel, "on"))
    for _, dtype, kernel, on in sorted(wanted, key=lambda w: w[0]):
        name = f"{case.family} {dtype} {kernel} {'compiled' if on == 'on' else 'eager'}"
        yield name, lambda d=dtype, k=kernel, o=on: _kernel(case, d, k, o)


def _expect(case: Case, shape: dict[str, int]) -> Measured:
    build(case.family, case.directory, device=case.device, **shape)
    case.expected = plain_states(case.directory, case.device, "float32", case.proteins)
    left = [len(s) for s, x in zip(case.proteins, case.expected, strict=True) if x is None]
    if len(left) == len(case.proteins):
        raise NotHereError("plain transformers has no memory for any of the proteins here")
    residues = sum(map(len, case.proteins))
    without = f", without those of {left} residues, for which it has no memory here" if left else ""
    return Measured(None, message=f"{len(case.proteins)} proteins, {residues:,} residues{without}")


def _plain(case: Case, dtype: str) -> Measured:
    """What the precision alone does; afterwards only proteins that it keeps finite are expected of us."""
    states = plain_states(case.directory, case.device, dtype, case.proteins)
    kept = chosen(case.expected, [x is not None for x in states])
    found = difference(states, kept)
    case.finite[dtype], case.plain[dtype] = kept, found
    lost = sum(x is not None for x in case.expected) - found.compared
    note = f"{lost} proteins are not finite" if lost else ""
    return Measured(found.relative if found.compared else None, message=note, more=asdict(found))


def _kernel(case: Case, dtype: str, kernel: str, compiled: str) -> dict[str, Measured]:
    expected = case.expected
    if dtype != "float32":
        if dtype not in case.plain:
            raise NotHereError(f"plain transformers did not run in {dtype}, so there is no tolerance")
        expected = case.finite[dtype]
        if not case.plain[dtype].compared:
            raise NotHereError(f"plain transformers has no finite number in {dtype} either")
    states, more = _embedded(case, dtype, kernel, compiled)
    if dtype != "float32":
        found = difference(states, expected)
        return {"": _judged(found, HALF_FACTOR * case.plain[dtype].relative, more, case.plain[dtype].relative)}
    bias = family_of(case.directory).has_bias
    long = [bias and len(s) > LONG for s in case.proteins]
    short = difference(states, chosen(expected, [not x for x in long]))
    judged = {"": _judged(short, FLOAT32, more)}
    if any(long):
        judged[f"over {LONG:,} residues"] = _judged(difference(states, chosen(expected, long)), FLOAT32_LONG, {})
    return judged


def _embedded(case: Case, dtype: str, kernel: str, compiled: str) -> tuple[States, dict[str, Any]]:
    """The states of our encoder, and what else is worth knowing: memory, halvings of the budget."""
    cuda = case.device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    encoder = load_encoder(
        case.directory, case.device, dtype=dtype, kernel=kernel, compiled=compiled, token_budget=BUDGET[case.device],
        pooling=["none", "mean"],
    )  # fmt: skip
    states = packed_states(encoder, case.proteins)
    peak = torch.cuda.max_memory_allocated() if cuda else None
    return states, {"peak_bytes": peak, "halvings": encoder.stats.out_of_memory, "packs": encoder.stats.forward_passes}


def _judged(found: Difference, tolerance: float, more: dict[str, Any], baseline: float | None = None) -> Measured:
    notes = [f"mean {found.mean:.1e}", f"largest absolute {found.absolute:.1e}"]
    notes += [f"{found.lost} proteins lost or not finite"] if found.lost else []
    notes += [f"peak {more['peak_bytes'] / 2**20:,.0f} MiB"] if more.get("peak_bytes") else []
    return Measured(found.worst, tolerance, baseline, message="; ".join(notes), more=asdict(found) | more)


def _against_float64(case: Case) -> Measured:
    """Our float32 and transformers' float32 against float64: who rounds more."""
    order = np.argsort([len(s) for s in case.proteins])[::-1]
    longest = [int(i) for i in order if case.expected[int(i)] is not None][:2]
    proteins = [case.proteins[i] for i in longest]
    exact = plain_states(case.directory, case.device, "float32", proteins, double=True)
    if all(x is None for x in exact):
        raise NotHereError("the device has no memory for float64 at these lengths")
    plain = difference([case.expected[i] for i in longest], exact)
    encoder = load_encoder(
        case.directory, case.device, dtype="float32", compiled="off", token_budget=BUDGET[case.device],
        kernel="toeplitz" if family_of(case.directory).has_bias else "sdpa", pooling=["none"],
    )  # fmt: skip
    mine = difference(packed_states(encoder, proteins), exact)
    most = max(HALF_FACTOR * plain.relative, FLOAT32)
    return Measured(
        mine.worst, most, plain.relative, message=f"{mine.compared} proteins of {[len(s) for s in proteins]}"
    )
