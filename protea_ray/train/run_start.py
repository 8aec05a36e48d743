"""What must be settled before a run begins: its place, its plan, and the weights it starts from."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protea_ray.config.training import TrainingConfig
from protea_ray.encoder import quantize
from protea_ray.errors import ConfigError, ProteaRayError
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint
from protea_ray.train.adapter import require_adaptable
from protea_ray.train.plan_file import TrainingPlan
from protea_ray.train.proteins import Proteins
from protea_ray.train.shape import write_fresh
from protea_ray.train.validation_loss import summed


@dataclass(frozen=True)
class RunStart:
    """`directory` is the model that training begins from, `trained_residues` the longest stretch that it knows.

    `base` is that model as it was opened, None for fresh weights.
    """

    directory: Path
    plan: TrainingPlan
    trained_residues: int
    base: Checkpoint | None = None

    def marker(self) -> dict[str, Any]:
        """What config.json of every checkpoint says about how it was made."""
        config = self.plan.config
        learns_maps = config.feature_maps != "none"  # and nothing else: its weights have seen no longer protein
        attention = config.feature_maps if learns_maps else config.attention
        return {
            "trained": True,
            "trained_residues": self.trained_residues if learns_maps else max(self.trained_residues, config.crop),
            "attention": attention,
            **({"feature_maps": attention} if attention == "hedgehog" else {}),
            "parent": dict(self.plan.parent),
            "plan": self.plan.digest,
        }


def prepare(config: TrainingConfig, proteins: Proteins, out: Path, *, rank: int, world: int) -> RunStart:
    """Settle place, plan and start; fresh weights are written by rank 0.

    Raises ConfigError for a place that cannot be written or holds another plan, CheckpointError for a model that must
    not be used, EncoderError for a package that quantises and is missing.
    """
    base = _base(config)
    directory, parent, known = _parent(config, out, base)
    plan = TrainingPlan(config, proteins.pin, split_digest(proteins), parent)
    problem = _settle(plan, directory, out) if rank == 0 else None
    if world > 1 and _any_rank(problem is not None) and problem is None:
        problem = ConfigError("the first worker found a mistake and says which", where="training")
    if problem is not None:
        raise problem
    return RunStart(directory, plan, known, base)


def _settle(plan: TrainingPlan, directory: Path, out: Path) -> ProteaRayError | None:
    """Write what a run begins with; returns what is wrong, so that the other ranks hear of it and do not wait."""
    try:
        require_place(out)
        plan.settle(out)
        if plan.config.shape is not None and not (directory / "model.safetensors").is_file():
            _write_start(directory, plan.config)
    except ProteaRayError as error:
        return error
    return None


def _any_rank(mine: bool) -> bool:
    """Whether it is so on any rank; returns on all of them at once."""
    return bool(summed(np.array([float(mine)]))[0])


def require_place(out: Path) -> None:
    """Make the directory; raises ConfigError when it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror or error}; name another place",
                          where="training") from None  # fmt: skip


def split_digest(proteins: Proteins) -> str:
    """sha256 of which proteins are on the validation side, in their order."""
    return hashlib.sha256(np.packbits(proteins.split).tobytes()).hexdigest()


def _base(config: TrainingConfig) -> Checkpoint | None:
    """The model to go on from, None for fresh weights; raises CheckpointError and ConfigError for an unfit one."""
    if config.model is None:
        return None
    found = open_checkpoint(config.model)
    if found.adapter:
        raise ConfigError(
            f"{config.model} is an adapter kept beside its base; merge it (protea_ray.train.merge.merge) and train on "
            "the merged directory",
            where="training",
        )
    if problem := _map_problem(config, found):
        raise ConfigError(problem, where="training")
    if config.adapter != "none":
        require_adaptable(found, config.lora_rank, config.lora_targets)
    if config.base_quantization:
        quantize.method(config.base_quantization, torch.float32)  # a missing package is told before a plan is written
    return found


def _map_problem(config: TrainingConfig, found: Checkpoint) -> str | None:
    """In words, why feature maps of this model cannot be learned, or be attended through; None where they can."""
    if config.variant.kind == "hedgehog" and not found.facts.has_feature_maps:
        return (
            f"attention hedgehog needs feature maps, and {config.model} has none: learn them first, with "
            f"--model {config.model} --feature-maps hedgehog, and go on from that run's model"
        )
    if config.feature_maps == "none":
        return None
    if not found.facts.has_lm_head:
        return f"{config.model} has no language-model head, by whose loss feature maps are validated"
    longest = found.facts.trained_length
    if longest is not None and config.crop > longest:
        return (
            f"crop {config.crop} is longer than the {longest} residues that {config.model} was trained on: its exact "
            f"attention is no example beyond; set crop to {longest} or less"
        )
    return None


def _parent(config: TrainingConfig, out: Path, found: Checkpoint | None) -> tuple[Path, dict[str, Any], int]:
    """The directory of the start, what names its weights, and the residues it was trained on."""
    if found is None:
        return out / "start", {"shape": config.shape, "seed": config.seed, **_shape_file(config.shape or "")}, 0
    known = found.facts.trained_length if found.trained else 0
    return found.path, {"model": config.model, "revision": found.revision, "files": found.files}, known or 0


def _shape_file(shape: str) -> dict[str, str]:
    """The sha256 of the config.json that a shape is read from."""
    if not shape.endswith(".json"):
        return {}
    try:
        return {"config": hashlib.sha256(Path(shape).read_bytes()).hexdigest()}
    except OSError as error:
        raise ConfigError(f"shape {shape}: {error.strerror or error}", where="training") from None


def _write_start(directory: Path, config: TrainingConfig) -> None:
    """Write fresh weights beside the place and rename them into it."""
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".start-") as scratch:
        write_fresh(Path(scratch) / "start", config.shape or "", config.seed, config.crop).rename(directory)
