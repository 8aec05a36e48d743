"""Where a run stands: numbers alone, written as state.json of each checkpoint. The weights are beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from protea_ray.config.libraries import versions
from protea_ray.config.training import TrainingConfig
from protea_ray.train.plan_file import TrainingPlan

SCHEMA = 1


@dataclass(frozen=True)
class RunState:
    """After `step` optimiser steps: the next one is step `epoch_step` of `epoch`. `tokens` are those of all ranks.

    `best_step` and `best_loss` are those of the lowest validation loss so far, None before the first validation;
    `loss_scale` is float16's scale and the steps since it last changed.
    """

    step: int
    epoch: int
    epoch_step: int
    tokens: int
    loss_scale: tuple[float, int]
    best_step: int | None = None
    best_loss: float | None = None

    @classmethod
    def fresh(cls, loss_scale: tuple[float, int]) -> RunState:
        """Before the first step."""
        return cls(0, 0, 0, 0, loss_scale)

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> RunState:
        """From state.json, which has other fields as well."""
        own: dict[str, Any] = {name: held[name] for name in cls.__dataclass_fields__}
        scale, unchanged = own.pop("loss_scale")
        return cls(**own, loss_scale=(scale, unchanged))

    def to_json(self) -> dict[str, Any]:
        """As state.json has it."""
        return asdict(self)

    def after(self, ends_epoch: bool, tokens: int, loss_scale: tuple[float, int]) -> RunState:
        """The state one step on."""
        epoch, epoch_step = (self.epoch + 1, 0) if ends_epoch else (self.epoch, self.epoch_step + 1)
        return replace(
            self, step=self.step + 1, epoch=epoch, epoch_step=epoch_step, tokens=self.tokens + tokens,
            loss_scale=loss_scale,
        )  # fmt: skip

    def with_validation(self, loss: float) -> RunState:
        """The state with this step as the best one, if it is."""
        if self.best_loss is not None and self.best_loss <= loss:
            return self
        return replace(self, best_step=self.step, best_loss=loss)


def state_json(state: RunState, plan: TrainingPlan, world: int) -> dict[str, Any]:
    """state.json: where the run stands, of which plan, by how many workers and which versions."""
    held = plan.to_json()
    return {
        "schema": SCHEMA, **state.to_json(), "plan": held["digest"], "data": held["data"], "split": held["split"],
        "seed": plan.config.seed, "world": world,
        "versions": versions(("torch", "transformers", "numpy", "safetensors")),
    }  # fmt: skip


def steps_of_run(config: TrainingConfig, epoch_steps: int) -> int:
    """Optimiser steps of a whole run; `epoch_steps` are those of its first epoch, and others differ by one or two.

    The tokens of a step are counted as `step_tokens`, though a pack is about 99 % full.
    """
    if config.tokens is not None:
        return max(1, round(config.tokens / config.step_tokens))
    return max(1, round((config.epochs or 1) * epoch_steps))
