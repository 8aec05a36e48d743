"""The optimisers of a run, its learning rate, and the averaged weights.

AdamW is torch's fused one. With `muon` the matrices of the layers are orthogonalised steps (Jordan 2024, torch's own
`Muon` with the step size of Liu 2025, so that one learning rate serves both) and AdamW has the rest. Weight decay falls
on matrices alone. Everything that a resumed run needs is a tensor with the name of its parameter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from protea_ray.config.training import TrainingConfig

_LAYER = re.compile(r"(^|\.)layers?\.\d+\.")
_RAW, _STATE = "raw", "state"


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """The rate of optimiser step `step` (from 0) of `steps`: up in a line over the warm-up, then the schedule's.

    The last step of linear and cosine is one step above 0, so that no step is wasted.
    """
    warmup = config.warm_up(steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    left = 1 - (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * (left if config.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)


class Optimiser:
    """Updates the trainable parameters of `model` and keeps their average when the recipe asks for one."""

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self.parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._config = config
        self._optimisers = _optimisers(self.parameters, config)
        values = list(self.parameters.values())
        self._average = [value.detach().clone() for value in values] if config.ema else []

    def update(self, step: int, steps: int) -> float:
        """Move every parameter by its gradient; returns the learning rate of this step."""
        rate = learning_rate(self._config, step, steps)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
        if self._average:
            # the start is forgotten faster than the decay says, as in TensorFlow's ExponentialMovingAverage
            decay = min(self._config.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._average, self._detached(), 1 - decay)
        return rate

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model has the averaged weights, if there are any; afterwards its own again, bit for bit."""
        if not self._average:
            yield
            return
        own = [value.clone() for value in self._detached()]
        torch._foreach_copy_(self._detached(), self._average)
        try:
            yield
        finally:
            torch._foreach_copy_(self._detached(), own)

    def tensors(self) -> dict[str, Tensor]:
        """What a resumed run needs: `state.<key>.<parameter>`, and `raw.<parameter>` where an average is the model."""
        held = {}
        names = {id(value): name for name, value in self.parameters.items()}
        for optimiser in self._optimisers:
            for parameter, state in optimiser.state.items():
                for key, value in state.items():
                    held[f"{_STATE}.{key}.{names[id(parameter)]}"] = value.detach()
        if self._average:
            held |= {f"{_RAW}.{name}": value.detach() for name, value in self.parameters.items()}
        return held

    def restore(self, held: Mapping[str, Tensor]) -> None:
        """Take over the tensors of `tensors`; the model holds the weights that were saved as the model."""
        if self._average:
            torch._foreach_copy_(self._average, self._detached())
        owners = {value: optimiser for optimiser in self._optimisers for value in _values(optimiser)}
        for name, value in held.items():
            kind, _, rest = name.partition(".")
            if kind == _RAW:
                self.parameters[rest].detach().copy_(value)
            else:
                key, _, parameter = rest.partition(".")
                owner = self.parameters[parameter]
                owners[owner].state[owner][key] = value.to(owner.device).clone()

    def _detached(self) -> list[Tensor]:
        return [value.detach() for value in self.parameters.values()]


def _values(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [value for group in optimiser.param_groups for value in group["params"]]


def _optimisers(parameters: Mapping[str, Tensor], config: TrainingConfig) -> list[torch.optim.Optimizer]:
    muon = [name for name, value in parameters.items() if config.optimiser == "muon" and _orthogonalised(name, value)]
    rest = [name for name in parameters if name not in set(muon)]
    decayed = [parameters[name] for name in rest if parameters[name].ndim >= 2]
    plain = [parameters[name] for name in rest if parameters[name].ndim < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    made: list[torch.optim.Optimizer] = []
    if groups := [group for group in groups if group["params"]]:
        made.append(torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True,
        ))  # fmt: skip
    if muon:
        made.append(torch.optim.Muon(
            [parameters[name] for name in muon], lr=config.learning_rate, weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ))  # fmt: skip
    return made


def _orthogonalised(name: str, value: Tensor) -> bool:
    """Whether Muon has this parameter: a matrix of a layer; embedding, head, biases and norms are AdamW's."""
    return value.ndim == 2 and _LAYER.search(name) is not None
