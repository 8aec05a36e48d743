"""How fast this machine trains: a few packs of the run itself, forward and backward, before any of it is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from protea_ray.config.training import TrainingConfig
from protea_ray.train.distil import learning_maps
from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.masking import MaskedPack
from protea_ray.train.training_set import TrainingSet

_SECONDS, _PACKS = 3.0, 16  # of the measurement, whichever comes first


@dataclass(frozen=True)
class TrainingRate:
    """What was measured. `peak_bytes` is the device's memory at its fullest, None on a CPU, where it is not counted."""

    tokens_per_second: float
    peak_bytes: int | None


def measure_rate(training: TrainingSet, model: Path, config: TrainingConfig, device: str) -> TrainingRate:
    """Time packs of the first epoch on `device` with the weights in `model`; the optimiser's own time is left out.

    The first pack is not counted: it pays for memory and kernels. Raises what loading the model raises.
    """
    made = MaskedModel.load(
        model, device=device, dtype=config.dtype, attention=str(config.variant), dropout=config.dropout,
        checkpointing=config.gradient_checkpointing,
    )  # fmt: skip
    packs = _packs(training)
    objective = made if config.feature_maps == "none" else learning_maps(made, model)
    _pass(objective, made, next(packs))
    tokens, began = 0, time.perf_counter()
    for pack in islice(packs, _PACKS):
        _pass(objective, made, pack)
        tokens += len(pack.ids)
        if time.perf_counter() - began > _SECONDS:
            break
    took = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    return TrainingRate(tokens / took, peak)


def _packs(training: TrainingSet) -> Iterator[MaskedPack]:
    """Packs of the run from its first step on."""
    for step in training.plan.steps(0, 0):
        for number in range(len(step.packs)):
            yield training.pack(step, number)


def _pass(objective: nn.Module, model: MaskedModel, pack: MaskedPack) -> None:
    """Forward and backward, finished when this returns."""
    loss = objective(**model.to_device(pack))
    loss.backward()
    loss.item()
