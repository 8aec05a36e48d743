"""What a run trains and its checkpoints hold: all weights, low-rank updates of some (an adapter), or feature maps.

| adapter | a checkpoint | `model/` at the end |
|---|---|---|
| none | a whole model | that of the best checkpoint |
| lora | an adapter beside its base | merged with the base: a whole model |
| qlora | an adapter beside its base | that of the best checkpoint: its sum with a matrix in few bits has no such form |

A run that learns feature maps writes whole models: the weights that it began with, and the maps beside them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from protea_ray.config.training import TrainingConfig
from protea_ray.train import model_files
from protea_ray.train.adapter import Updates, add_adapters
from protea_ray.train.distil import Distillation, learning_maps, tokens_of
from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.masking import MaskedPack
from protea_ray.train.merge import merge
from protea_ray.train.model_loss import distilled_loss, model_loss
from protea_ray.train.run_start import RunStart
from protea_ray.train.training_set import TrainingSet
from protea_ray.train.validation_loss import ValidationLoss


@dataclass(frozen=True)
class Trainee:
    """The model of a run; `updates` or the maps of a `distillation` are what is trained of it, else all weights are."""

    model: MaskedModel
    updates: Updates | None = None
    distillation: Distillation | None = None

    @classmethod
    def load(
        cls, config: TrainingConfig, start: RunStart, checkpoint: Path | None, *, device: torch.device, compiled: bool
    ) -> Trainee:
        """The model as it was at the start of the run, or as it was at `checkpoint`.

        Raises ConfigError, CheckpointError and EncoderError for an adapter that cannot be had on this base.
        """
        base = None if config.adapter == "none" else start.base
        model = MaskedModel.load(
            start.directory if base or checkpoint is None else checkpoint, device=device, dtype=config.dtype,
            attention=str(config.variant), dropout=config.dropout, checkpointing=config.gradient_checkpointing,
            compiled=compiled,
        )  # fmt: skip
        if config.feature_maps != "none":
            return cls(model, distillation=learning_maps(model, checkpoint or start.directory))
        if base is None:
            return cls(model)
        updates = add_adapters(
            model, base, rank=config.lora_rank, alpha=config.lora_alpha, targets=config.lora_targets,
            quantization=config.base_quantization, seed=config.seed,
        )  # fmt: skip
        if checkpoint is not None:
            updates.read(checkpoint)
        return cls(model, updates)

    @property
    def objective(self) -> nn.Module:
        """What a step runs: from the arguments of `MaskedModel.losses` to the sum of the losses of a pack."""
        return self.model if self.distillation is None else self.distillation

    @property
    def objective_name(self) -> str:
        """What a step's loss is, in words."""
        return "loss" if self.distillation is None else "squared error"

    def targets(self, pack: MaskedPack) -> int:
        """What the objective of a pack is a sum over: masked residues, or all tokens."""
        return len(pack.targets) if self.distillation is None else tokens_of(pack)

    def validation(self, packs: Sequence[MaskedPack], data: TrainingSet, *, rank: int, world: int) -> ValidationLoss:
        """Losses of validation packs, equal on every rank."""
        if self.distillation is None:
            return model_loss(self.model, packs, data, rank=rank, world=world)
        return distilled_loss(self.distillation, packs, data, rank=rank, world=world)

    def tensors(self) -> dict[str, Tensor]:
        """Copies on the CPU of what a checkpoint holds, by the names in its file."""
        held = self.model.tensors() if self.updates is None else self.updates.tensors()
        return {name: value.detach().cpu().clone() for name, value in held.items()}

    def write(self, directory: Path, tensors: Mapping[str, Tensor], start: RunStart) -> None:
        """Write `tensors` of `tensors()` into a directory that embeds."""
        if self.updates is None:
            model_files.write_model(directory, tensors, start.directory, start.marker())
        else:
            self.updates.write(directory, tensors, start.marker())

    def publish(self, checkpoint: Path, target: Path) -> None:
        """Make `target` the model of a checkpoint."""
        if self.updates is None or self.updates.quantization:
            model_files.copy_model(checkpoint, target)
            return
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".merged-") as scratch:
            model_files.copy_model(merge(checkpoint, Path(scratch) / "model"), target)
