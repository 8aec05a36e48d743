"""How speed is measured: interleaved repetitions, synchronised clocks, peaks of the same device and dtype."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from protea_ray.encoder.acceleration import TORCH, product
from protea_ray.models.families import Shape
from protea_ray.plan.cost import transformer_cost

PEAK_SIDE = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True)
class Seconds:
    """Repetitions of one way, in seconds. `extra_bytes` is peak memory above what was there before, if it is known."""

    all: tuple[float, ...]
    extra_bytes: int | None = None

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.all)

    @property
    def spread(self) -> float:
        """(max - min) / median."""
        return (max(self.all) - min(self.all)) / self.middle


def clock(work: Callable[[], object], device: str = "cpu") -> float:
    """Seconds of one call, the device's queue emptied before and after."""
    _settle(device)
    started = time.perf_counter()
    work()
    _settle(device)
    return time.perf_counter() - started


def interleaved(ways: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, tuple[float, ...]]:
    """Every way once, then all of them again: a busy moment of the machine hurts all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(way())
    return {name: tuple(found) for name, found in seconds.items()}


def peak(device: str, dtype: str, by: str = TORCH) -> float:
    """FLOP/s of one large matrix product of this dtype, the best of three; `by` torch's `a @ a` or oneDNN."""
    side, kind = PEAK_SIDE[device], getattr(torch, dtype)
    a = torch.rand(side, side, device=device).to(kind)
    multiply = torch.matmul if by == TORCH else product
    best = min(clock(lambda: multiply(a, a), device) for _ in range(3))
    return 2 * side**3 / best


def useful_operations(shape: Shape, lengths: Sequence[int]) -> float:
    """Operations that proteins of `lengths` residues need, two special tokens counted with each."""
    width = shape.heads * shape.head_dim
    cost = transformer_cost(shape.layers, shape.hidden, width, shape.ffn, 3 if shape.gated else 2)
    return float(cost.of(np.array(lengths) + 2).sum())


def share_of(flops: float, seconds: Sequence[float], peaks: Sequence[float]) -> float:
    """Median over the repetitions of what was done of what the device could do in the same repetition.

    Beside other work a machine's peak moves by a third within minutes, and the rate with it.
    """
    return median(flops / took / most for took, most in zip(seconds, peaks, strict=True))


def extra_memory(work: Callable[[], object], device: str = "cpu") -> int | None:
    """Peak bytes above what is in use before: of the device's allocator, or of this process where Linux tells."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew at what is resident now
        before = _resident("VmHWM")
        work()
        return _resident("VmHWM") - before
    return None


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
