"""Which attention a run trains with where its recipe leaves that to the model: decided once, kept in plan.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protea_ray.config.training import TrainingConfig
from protea_ray.models.adapters import marked
from protea_ray.models.checkpoint import locate, read_config, with_base
from protea_ray.models.families.training_marker import trained_attention
from protea_ray.train.plan_file import PLAN


def settled(config: TrainingConfig, out: Path | None = None) -> TrainingConfig:
    """The recipe with its attention: the one given, else that of the run in `out`, else the model's own, else exact.

    Only the model's config.json is read. Raises CheckpointError for a model that is not there, or is damaged.
    """
    if config.attention is not None:
        return config
    attention = _planned(out) or (own_attention(config.model) if config.model else "exact")
    return config.model_copy(update={"attention": attention})


def own_attention(model: str) -> str:
    """The attention that a checkpoint, or an adapter on one, was trained with; raises CheckpointError."""
    path, adapter = with_base(locate(model, None)[0])
    config = read_config(path)
    return trained_attention(marked(config, adapter.marker) if adapter else config)


def _planned(out: Path | None) -> str | None:
    """The attention of the plan in `out`; None without one, and for a file that is said to be no plan elsewhere."""
    try:
        held: Any = json.loads((out / PLAN).read_text(encoding="utf-8")) if out else {}
        return held.get("config", {}).get("attention")
    except (OSError, ValueError, AttributeError):
        return None
