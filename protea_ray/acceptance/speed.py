"""Residues per second at full depth: plain transformers as its documentation shows it, sorted, and our encoder.

The share of the peak counts only operations that a result needs, over a matrix product of the same dtype on the same
device, measured just before and after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from protea_ray.acceptance.difference import States, difference, packed_states, plain_states
from protea_ray.acceptance.drawn import of_lengths, sample
from protea_ray.acceptance.measure import clock, extra_memory, peak, useful_operations
from protea_ray.acceptance.numbers import HALF_FACTOR
from protea_ray.acceptance.published_shapes import MODELS
from protea_ray.acceptance.verdicts import AcceptanceReport, Measured, NotHereError
from protea_ray.acceptance.ways import Embed, Way, family_of, load_encoder, opened, ways

PART = "speed"
CUT = 1022  # residues
BUCKETS = ((1, 128), (129, 256), (257, 512), (513, 1024), (1025, 2048), (2049, 4096), (4097, 8192))
KEPT = 0.9  # of the rate without residue matrices, that with them copied to the host must keep


@dataclass(frozen=True)
class Plan:
    """How one model is measured. Targets of our encoder: share of the peak, times sorted, times default."""

    name: str
    proteins: int
    default: int  # of them, those that the slow way in input order gets
    share: float | None = None
    sorted: float = 1.0
    plain: float = 1.0


PLANS = {
    "cuda": (
        Plan("650M", 1000, 300, 0.55, 2.0, 4.0), Plan("esmc-600M", 500, 120), Plan("prott5-xl", 300, 80),
    ),
    "cpu": (Plan("8M", 8, 8),),
}  # fmt: skip
BUCKET_RESIDUES = {"cuda": 65_536, "cpu": 256}
COMPARED = {"cuda": 1000, "cpu": 4}  # proteins of half against single precision, as FastESM's card has it
COMPARED_PLAIN = {"cuda": 64, "cpu": 4}


def check(report: AcceptanceReport, device: str, pool: Sequence[str], scratch: Path, seconds: float) -> None:
    """Add the lines of every model, then what is asked of the first one alone."""
    report.start(seconds)
    directories: dict[str, Path] = {}
    for plan in PLANS[device]:
        proteins = sample([s for s in pool if device == "cuda" or len(s) < 100], plan.proteins, CUT)
        report.run(PART, f"{plan.name}, weights", lambda p=plan: _write(p, device, scratch, directories))
        if plan.name in directories:
            for dtype in dtypes(directories[plan.name], device):
                name = f"{plan.name} {dtype}"
                report.run(PART, name, lambda p=plan, d=dtype, s=proteins: rates(directories[p.name], p, device, d, s))
    first = PLANS[device][0]
    if first.name in directories:
        _more(report, first.name, directories[first.name], device, pool)


def _more(report: AcceptanceReport, name: str, directory: Path, device: str, pool: Sequence[str]) -> None:
    dtype = dtypes(directory, device)[-1]
    proteins = sample([s for s in pool if device == "cuda" or len(s) < 100], COMPARED[device], CUT)
    report.run(PART, f"{name} {dtype}, residue matrices", lambda: matrices(directory, device, dtype, proteins))
    states: list[States] = []
    for half in (d for d in dtypes(directory, device) if d != "float32"):
        report.run(
            PART,
            f"{name} {half} against float32",
            lambda h=half: half_precision(directory, device, h, proteins, states),
        )
    loaded: dict[str, tuple[Way, Embed]] = {}
    for low, high in BUCKETS if device == "cuda" else BUCKETS[:2]:
        label = f"{name} {dtype}, {low:,}-{high:,} residues"
        report.run(PART, label, lambda lo=low, hi=high: bucket(directory, device, dtype, lo, hi, loaded))
    loaded.clear()


def dtypes(directory: Path, device: str) -> tuple[str, ...]:
    """Those that are measured: half precisions that the family is stable in, on a CPU float32 and bfloat16."""
    if device == "cpu":
        return ("float32", "bfloat16")
    return ("bfloat16",) if family_of(directory).has_bias else ("float16", "bfloat16")


def _write(plan: Plan, device: str, scratch: Path, directories: dict[str, Path]) -> Measured:
    model = MODELS[plan.name]
    directory = model.write(scratch, device == "cuda", device)
    shape = opened(directory).shape
    directories[plan.name] = directory
    return Measured(None, message=f"{shape.layers} of {model.layers} layers x {shape.hidden}, random")


def rates(directory: Path, plan: Plan, device: str, dtype: str, proteins: Sequence[str]) -> dict[str, Measured]:
    """Rates of the three ways on one model in one dtype, and what ours is in terms of each."""
    found: dict[str, Rate] = {}
    for way in ways(directory, device, [dtype], (8,)):
        name = _short(way)
        found[name] = _loaded_rate(way, proteins[: plan.default] if name == "default" else proteins, directory, device)
        if device == "cuda":
            torch.cuda.empty_cache()
    if not found["ours"].rate:
        raise NotHereError("the device has no memory for this model")
    return _judged(found, plan, device)


def _short(way: Way) -> str:
    return "ours" if way.name.startswith("protea_ray") else "sorted" if "sorted" in way.name else "default"


@dataclass(frozen=True)
class Rate:
    """Of one way: residues/s, share of the peak, seconds of loading and of the first use, extra bytes, peak FLOP/s."""

    rate: float
    share: float
    load: float
    first: float
    extra: int | None
    peak: float


def _loaded_rate(way: Way, proteins: Sequence[str], directory: Path, device: str) -> Rate:
    """The rate of a way that is loaded for this alone; 0 where the device has no memory for it."""
    held: list[Embed] = []
    try:
        load = clock(lambda: held.append(way.load()), device)
        first = clock(lambda: held[0](proteins[:8]), device)
        return replace(_rate(way, held[0], proteins, directory, device), load=load, first=first)
    except torch.OutOfMemoryError:
        return Rate(0.0, float("nan"), 0.0, 0.0, 0, 0.0)


def _rate(way: Way, embed: Embed, proteins: Sequence[str], directory: Path, device: str) -> Rate:
    """The best of two passes, three of ours, whose first use compiles; extra memory is that of the first."""
    seconds, peaks = [], [peak(device, way.dtype)]
    extra = extra_memory(lambda: seconds.append(clock(lambda: embed(proteins), device)), device)
    seconds += [clock(lambda: embed(proteins), device) for _ in range(2 if _short(way) == "ours" else 1)]
    peaks.append(peak(device, way.dtype))
    lengths = [len(s) for s in proteins]
    flops, most = useful_operations(opened(directory).shape, lengths), median(peaks)
    return Rate(sum(lengths) / min(seconds), flops / min(seconds) / most, 0.0, 0.0, extra, most)


def _judged(found: Mapping[str, Rate], plan: Plan, device: str) -> dict[str, Measured]:
    mine, is_judged = found["ours"], device == "cuda"
    extra = "" if mine.extra is None else f", {mine.extra / 2**20:,.0f} MiB above the weights"
    lines = {
        "residues/s": Measured(
            mine.rate, baseline=found["sorted"].rate or None,
            message=f"loaded in {mine.load:.1f} s, first use {mine.first:.1f} s{extra}",
            more={name: vars(rate) for name, rate in found.items()},
        ),
        "share of the peak": Measured(
            mine.share, plan.share if is_judged else None, found["sorted"].share, True,
            f"of {mine.peak / 1e12:,.2f} TFLOP/s",
        ),
    }  # fmt: skip
    for name, target in (("sorted", plan.sorted), ("default", plan.plain)):
        theirs, label = found[name], f"times transformers {name}"
        if not theirs.rate:
            lines[label] = Measured(None, message="transformers has no memory for it here")
            continue
        lines[label] = Measured(
            mine.rate / theirs.rate,
            target if is_judged else None,
            at_least=True,
            message=f"{theirs.rate:,.0f} residues/s",
        )
    return lines


def matrices(directory: Path, device: str, dtype: str, proteins: Sequence[str]) -> Measured:
    """The rate with every residue matrix copied to the host (float16), over that with mean vectors alone."""
    seconds = {}
    for pooling in ("mean", "none"):
        encoder = load_encoder(directory, device, dtype=dtype, pooling=[pooling], store_dtype="float16")

        def embed(encoder: Any = encoder) -> None:
            for _ in encoder.embed(proteins):
                pass

        embed()
        seconds[pooling] = min(clock(embed, device) for _ in range(2))
    residues = sum(map(len, proteins))
    return Measured(
        seconds["mean"] / seconds["none"], KEPT if device == "cuda" else None, at_least=True,
        message=f"{residues / seconds['none']:,.0f} residues/s with them, {residues / seconds['mean']:,.0f} without",
    )  # fmt: skip


def half_precision(
    directory: Path, device: str, dtype: str, proteins: Sequence[str], states: list[States]
) -> dict[str, Measured]:
    """Mean over proteins of the mean squared error of the last hidden state, and cosine; `states` keeps float32's."""
    if not states:
        states.append(_states(directory, device, "float32", proteins))
    single, mine = states[0], _states(directory, device, dtype, proteins)
    few = COMPARED_PLAIN[device]
    alone = plain_states(directory, device, dtype, proteins[:few])
    theirs = difference(alone, single[:few])
    ours = difference(mine[:few], single[:few])
    pairs = [(a, b) for a, b in zip(mine, single, strict=True) if a is not None and b is not None]
    cosine = [_cosine(a, b) for a, b in pairs]
    plain = [_cosine(a, b) for a, b in zip(alone, single[:few], strict=True) if a is not None and b is not None]
    likeness = float(np.mean(plain))
    squared = float(np.mean([np.square(a - b).mean() for a, b in pairs]))
    return {
        "mean squared error": Measured(
            ours.squared, HALF_FACTOR * theirs.squared, theirs.squared,
            message=f"of {few} proteins; of {len(pairs)} proteins {squared:.2e}",
        ),
        "cosine": Measured(
            float(np.mean(cosine[:few])), 1 - HALF_FACTOR * (1 - likeness), likeness, at_least=True,
            message=f"of {len(cosine)} proteins {np.mean(cosine):.6f}, smallest {min(cosine):.6f}",
        ),
        "proteins lost": Measured(len(proteins) - len(pairs), 0),
    }  # fmt: skip


def _states(directory: Path, device: str, dtype: str, proteins: Sequence[str]) -> States:
    return packed_states(load_encoder(directory, device, dtype=dtype, pooling=["none"]), proteins)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over residues."""
    top = (a * b).sum(1)
    return float(np.mean(top / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-30)))


def bucket(
    directory: Path, device: str, dtype: str, low: int, high: int, loaded: dict[str, tuple[Way, Embed]]
) -> dict[str, Measured]:
    """Rate and share of ours and of the sorted baseline on proteins of low to high residues; `loaded` keeps both."""
    if not loaded:
        loaded |= {_short(way): (way, way.load()) for way in ways(directory, device, [dtype], ())}
    draw = np.random.default_rng(low)
    count = max(4, 2 * BUCKET_RESIDUES[device] // (low + high))
    proteins = of_lengths([int(n) for n in draw.integers(low, high + 1, count)], seed=low)
    found: dict[str, Rate] = {}
    for name, (way, embed) in loaded.items():
        try:
            found[name] = _rate(way, embed, proteins, directory, device)
        except torch.OutOfMemoryError:
            if name == "ours":
                raise
    mine, theirs = found["ours"], found.get("sorted")
    note = "" if theirs else "transformers has no memory for it here"
    return {
        "residues/s": Measured(mine.rate, baseline=theirs and theirs.rate, message=note),
        "share of the peak": Measured(mine.share, baseline=theirs and theirs.share),
    }
