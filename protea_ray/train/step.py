"""One optimiser step: the packs of this rank forward and backward, gradients summed over all ranks, one update.

The loss of a step is the sum over all targets of all ranks, divided by their number. Packs hold different numbers of
targets, so a mean of each rank's mean would weigh them wrongly. Gradients lie in one flat buffer, with the packs'
losses and the number of targets at its end: one `all_reduce` moves everything that the ranks must agree on.

Nothing here waits for the device: what a step came to is read while the next one runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from protea_ray.config.training import TrainingConfig
from protea_ray.display import first_of
from protea_ray.errors import TrainingError
from protea_ray.train.optimiser import Optimiser

Ids = Callable[[int], list[str]]  # ids of the proteins in pack n of a step, for a message

_NAMED = 8  # proteins of a step that a message names
_FIRST_SCALE, _GROWTH_STEPS = 2.0**16, 2000  # as torch.amp.GradScaler


@dataclass(frozen=True)
class RankPack:
    """A pack of this rank: its number among the packs of the step, arguments of the model, and count of targets."""

    number: int
    inputs: Mapping[str, Any]
    targets: int


@dataclass(frozen=True)
class StepResult:
    """What a step came to, equal on every rank: mean loss in nats, norm of the gradient before clipping."""

    loss: float
    targets: int
    gradient_norm: float
    stop: bool


class Pending:
    """Numbers on their way from the device: losses of the step's packs, targets, stop, norm of the gradient."""

    def __init__(self, values: Tensor, step: int, proteins: Ids) -> None:
        self._step, self._proteins = step, proteins
        self._event = None
        if values.is_cuda:
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            self._host = values

    def result(self) -> StepResult:
        """Wait for the numbers; raises TrainingError that names step and proteins when one is not finite."""
        if self._event is not None:
            self._event.synchronize()
        *losses, targets, stop, norm = self._host.tolist()
        bad = [number for number, loss in enumerate(losses) if not math.isfinite(loss)]
        if bad or not math.isfinite(norm):
            what, numbers = ("the loss", bad) if bad else ("the gradient", range(len(losses)))
            raise TrainingError(_not_finite(self._step, what, [name for n in numbers for name in self._proteins(n)]))
        return StepResult(sum(losses) / max(targets, 1), int(targets), norm, stop > 0)


class Stepper:
    """Takes steps of `model`. `scale` and `grown` are the state of float16's loss scale (1 and 0 otherwise)."""

    def __init__(self, model: nn.Module, optimiser: Optimiser, config: TrainingConfig, *, world: int = 1) -> None:
        self._model, self._optimiser, self._config, self._world = model, optimiser, config, world
        self._packs = config.step_tokens // config.pack_tokens
        self._nominal = config.mask_rate * config.step_tokens  # a gradient of about its size at the end
        self._half = config.dtype == "float16"
        self.scale, self.grown = (_FIRST_SCALE, 0) if self._half else (1.0, 0)
        values = list(optimiser.parameters.values())
        length = sum(value.numel() for value in values)
        self._buffer = torch.zeros(length + self._packs + 2, device=values[0].device)
        self._gradient, self._tail = self._buffer[:length], self._buffer[length:]
        start = 0
        for value in values:
            value.grad = self._gradient[start : start + value.numel()].view_as(value)
            start += value.numel()

    def run(
        self, step: int, steps: int, packs: Iterable[RankPack], proteins: Ids, *, stop: bool = False
    ) -> tuple[Pending, float]:
        """Take step `step` of `steps`; returns its numbers to come and its learning rate.

        `proteins` gives the ids of a pack of the step; `stop` asks every rank to stop after it.
        """
        self._buffer.zero_()
        targets = 0
        for pack in packs:
            if self._config.dropout:
                torch.manual_seed(_pack_seed(self._config.seed, step, pack.number))
            loss = self._model(**pack.inputs)
            (loss * (self.scale / self._nominal)).backward()
            self._tail[pack.number] = loss.detach()
            targets += pack.targets
        self._tail[self._packs] = targets
        self._tail[self._packs + 1] = float(stop)
        if self._world > 1:
            torch.distributed.all_reduce(self._buffer)
        norm = self._finish_gradient()
        rate = self._optimiser.update(step, steps) if self._usable(norm, step) else 0.0
        norm = torch.zeros_like(norm) if self._half else norm  # its overflow is no mistake: the step was left out
        return Pending(torch.cat([self._tail, norm[None]]), step, proteins), rate

    def _finish_gradient(self) -> Tensor:
        """Divide the sum by the number of targets and clip it; returns the norm before clipping, on the device."""
        self._gradient.mul_(self._nominal / self.scale / self._tail[self._packs].clamp(min=1))
        norm = torch.linalg.vector_norm(self._gradient)
        if self._config.clip is not None:
            self._gradient.mul_((self._config.clip / (norm + 1e-6)).clamp(max=1))
        return norm

    def _usable(self, norm: Tensor, step: int) -> bool:
        """Whether this gradient may move the weights; float16 halves its scale and leaves a step out otherwise."""
        if not self._half:
            return True
        if math.isfinite(norm.item()):
            self.grown += 1
            if self.grown == _GROWTH_STEPS:
                self.scale, self.grown = self.scale * 2, 0
            return True
        self.scale, self.grown = self.scale / 2, 0
        if self.scale < 1:
            raise TrainingError(
                f"step {step}: the gradient overflows float16 at every scale. Set dtype to bfloat16 or float32, or a "
                "lower learning_rate; the same place needs a new name then."
            )
        return False


def _pack_seed(seed: int, step: int, pack: int) -> int:
    """Seed of the dropout of one pack, whichever rank has it."""
    return int(np.random.SeedSequence([seed, step, pack]).generate_state(1, np.uint64)[0])


def _not_finite(step: int, what: str, ids: list[str]) -> str:
    return (
        f"step {step}: {what} is not a number. Its proteins: {first_of(ids, _NAMED)}. The checkpoint before it is "
        "whole; a lower learning_rate or a smaller clip in a new place usually helps."
    )
