"""The dry run of a training run: its plan, and what it would cost on this machine. Nothing is written that stays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protea_ray.config.training import TrainingConfig, TrainingOptions
from protea_ray.display import clock_time
from protea_ray.models.checkpoint import locate, read_config
from protea_ray.models.families import families
from protea_ray.models.families.base import Shape
from protea_ray.train.forecast import Forecast, forecast
from protea_ray.train.own_attention import settled
from protea_ray.train.proteins import Proteins, from_store
from protea_ray.train.shape import shape_config, write_fresh

_GIB = 1 << 30


@dataclass(frozen=True)
class TrainingPrediction:
    """A forecast with its recipe, its proteins' pin, and the rate that turns its tokens into seconds.

    `rate` is in tokens/s of one worker on `device`; `measured` says that it was timed here and not stated.
    """

    config: TrainingConfig
    pin: dict[str, Any]
    forecast: Forecast
    device: str
    rate: float
    measured: bool
    peak_bytes: int | None

    @property
    def seconds(self) -> float:
        """Time of all steps on one worker."""
        return self.forecast.seconds(self.rate)

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        own = {name: value for name, value in vars(self).items() if name not in ("config", "forecast", "pin")}
        recipe = self.config.model_dump(mode="json")
        return {"recipe": recipe, "data": self.pin, **asdict(self.forecast), **own, "seconds": self.seconds}

    def facts(self) -> Iterator[tuple[str, str]]:
        """Names and values for a person."""
        found = self.forecast
        version = "" if self.pin.get("version") is None else f" at version {self.pin['version']}"
        yield "proteins", f"{found.proteins:,} to train on, about {found.validation_proteins:,} for validation{version}"
        yield "residues", f"{found.residues:,} to train on"
        yield "model", f"{found.parameters:,} parameters"
        yield "recipe", self._recipe()
        yield "steps", f"{found.steps:,}, {found.steps_per_epoch:,} an epoch: {found.epochs:.1f} epochs"
        yield "tokens", f"{found.tokens:,}"
        yield "work", f"{found.operations:.2e} floating-point operations"
        measured = "" if self.peak_bytes is None else f"; {self.peak_bytes / _GIB:.1f} GiB were measured"
        yield "memory", f"about {found.memory_bytes / _GIB:.1f} GiB a worker{measured}"
        how = "measured" if self.measured else "as stated"
        yield (
            "time",
            f"about {clock_time(self.seconds)} on one worker ({self.device}, {self.rate:,.0f} tokens/s, {how})",
        )

    def _recipe(self) -> str:
        """What of the recipe decides between runs of one model, in words."""
        config, steps = self.config, self.forecast.steps
        adapter = "" if config.adapter == "none" else f", adapter {config.adapter}"
        return (
            f"attention {config.attention}{adapter}, stretches of at most {config.crop:,} residues, "
            f"{config.step_tokens:,} tokens a step, learning rate {config.learning_rate:g} after "
            f"{config.warm_up(steps):,} steps"
        )


def predict(store: str, config: TrainingConfig, options: TrainingOptions, rate: float | None) -> TrainingPrediction:
    """Read the lengths of a store's proteins, lay out an epoch, and time packs of it unless a rate is stated.

    The validation side is drawn protein by protein, of the same size: clusters are made when the run begins. Raises
    ConfigError, CheckpointError and StoreError as the run would.
    """
    config = settled(config)
    proteins = from_store(store)
    proteins = proteins.with_split(proteins.cluster, _drawn(len(proteins), config))
    shape = shape_of(config)
    found = forecast(config, shape, proteins.lengths, proteins.split)
    if rate is not None:
        return TrainingPrediction(config, proteins.pin, found, options.device, rate, False, None)
    from protea_ray.train.train_here import device_of

    device = device_of(options).type
    measured = _measured(proteins, config, device)
    return TrainingPrediction(
        config, proteins.pin, found, device, measured.tokens_per_second, True, measured.peak_bytes
    )


def shape_of(config: TrainingConfig) -> Shape:
    """Sizes of the model that a recipe trains; raises ConfigError or CheckpointError for one that is not there."""
    if config.shape is not None:
        settings = shape_config(config.shape, config.crop)
    else:
        settings = read_config(locate(str(config.model), None)[0])
    known = {family.model_type: family for family in families()}
    return known[settings["model_type"]].shape(settings)


def _drawn(n: int, config: TrainingConfig) -> np.ndarray:
    """(n,) True for a share of the proteins, at least one."""
    chosen = np.zeros(n, bool)
    chosen[: max(1, round(config.validation_share * n))] = True
    return np.random.default_rng(config.seed).permutation(chosen)


def _measured(proteins: Proteins, config: TrainingConfig, device: str) -> Any:
    """Time the model of the run on packs of the run."""
    from protea_ray.train.timing import measure_rate
    from protea_ray.train.training_set import training_set

    with tempfile.TemporaryDirectory() as scratch:
        if config.shape is None:
            model = locate(str(config.model), None)[0]
        else:
            model = write_fresh(Path(scratch) / "start", config.shape, config.seed, config.crop)
        return measure_rate(training_set(proteins, model, config), model, config, device)
