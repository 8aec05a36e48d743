"""An encoder in this process, for what is small enough not to need a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protea_ray.config.embedding import EmbeddingConfig, resolve
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import Checkpoint, read_config
from protea_ray.models.families import recognise

if TYPE_CHECKING:
    from protea_ray.encoder.encoder import Encoder


def encoder_here(
    checkpoint: Checkpoint, config: EmbeddingConfig, device: str = "auto", token_budget: int | None = None,
    compiled: str = "auto",
) -> Encoder:  # fmt: skip
    """Load an open checkpoint under a recipe on `device` (auto, cpu, cuda, cuda:N; auto prefers a GPU).

    Raises ConfigError for a recipe that does not fit the checkpoint and for a GPU that is not there.
    """
    import torch

    from protea_ray.encoder.encoder import Encoder

    place = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if place != "cpu" and not torch.cuda.is_available():
        raise ConfigError("device: this machine has no CUDA device; use cpu or auto", where=config.model)
    resolved = resolve(config, checkpoint.facts, torch.device(place).type, checkpoint.revision)
    family = recognise(read_config(checkpoint.path), checkpoint.path, checkpoint.facts.family)
    return Encoder.load(checkpoint.path, family, [resolved], device=place, token_budget=token_budget, compiled=compiled)
