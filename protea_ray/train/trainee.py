"""What a run trains and its checkpoints hold: all weights of a model, or low-rank updates of some (an adapter).

| adapter | a checkpoint | `model/` at the end |
|---|---|---|
| none | a whole model | that of the best checkpoint |
| lora | an adapter beside its base | merged with the base: a whole model |
| qlora | an adapter beside its base | that of the best checkpoint: its sum with a matrix in few bits has no such form |
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from protea_ray.config.training import TrainingConfig
from protea_ray.train import model_files
from protea_ray.train.adapter import Updates, add_adapters
from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.merge import merge
from protea_ray.train.run_start import RunStart


@dataclass(frozen=True)
class Trainee:
    """The model of a run; `updates` are what is trained of it, None where all weights are."""

    model: MaskedModel
    updates: Updates | None

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
        if base is None:
            return cls(model, None)
        updates = add_adapters(
            model, base, rank=config.lora_rank, alpha=config.lora_alpha, targets=config.lora_targets,
            quantization=config.base_quantization, seed=config.seed,
        )  # fmt: skip
        if checkpoint is not None:
            updates.read(checkpoint)
        return cls(model, updates)

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
