"""Train in this process: alone, or as one rank of several. Imports neither Ray nor Lance.

`out` is all there is to a run:

    plan.json       what is trained; another plan in the same place is refused
    start/          the fresh weights, where a shape was named
    checkpoints/    step-00001234/, each a model directory and a place to go on from: the newest `keep`, and the best
    best.json       the checkpoint with the lowest validation loss
    metrics.jsonl   a line a step and a validation
    model/          the best checkpoint once more, at the end of the run

The newest whole checkpoint says where the run stands, whoever stopped it and why: the same command goes on from there.
A run is stopped by SIGTERM, by Ctrl-C and by `stop_after`; each writes a checkpoint first. The learning rate belongs to
the plan's steps and knows nothing of stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from protea_ray.config.training import TrainingConfig, TrainingOptions
from protea_ray.encoder.acceleration import ON, choose_compiling
from protea_ray.errors import ConfigError
from protea_ray.train import model_files
from protea_ray.train.baseline_file import settle_baselines
from protea_ray.train.masking import MaskedPack
from protea_ray.train.metrics_file import FINAL, MetricsFile
from protea_ray.train.optimiser import Optimiser
from protea_ray.train.own_attention import settled
from protea_ray.train.pack_feed import PackFeed, PlannedStep
from protea_ray.train.proteins import Proteins
from protea_ray.train.rate_meter import RateMeter
from protea_ray.train.run_start import RunStart, prepare
from protea_ray.train.run_state import RunState, state_json, steps_of_run
from protea_ray.train.step import Pending, RankPack, Stepper
from protea_ray.train.stopping import STOP_FILE, Stopping
from protea_ray.train.trainee import Trainee
from protea_ray.train.training_set import TrainingSet, training_set
from protea_ray.train.validation_loss import ValidationLoss

Report = Callable[[Mapping[str, Any]], None]
QUICK_TOKENS = 1 << 18  # of the validation side while a run goes on; all of it at the end


@dataclass(frozen=True)
class TrainingSummary:
    """How a run ended: `stopped` says why before its last step, None when it is finished.

    `validation` is the loss of the best checkpoint on the whole validation side, None while a run is not finished.
    """

    out: Path
    step: int
    steps: int
    tokens: int
    stopped: str | None
    validation: ValidationLoss | None


@dataclass(frozen=True)
class _Launched:
    """A step that the device may still be at; `state` is that after it."""

    state: RunState
    epoch: int
    tokens: int
    rate: float
    pending: Pending


def train_here(
    config: TrainingConfig,
    options: TrainingOptions,
    proteins: Proteins,
    out: Path,
    *,
    rank: int = 0,
    world: int = 1,
    report: Report | None = None,
    stop_after: float | None = None,
) -> TrainingSummary:
    """Train until the plan's last step or until told to stop; goes on from what `out` holds.

    With `world` > 1 torch.distributed is set up and every rank calls this with the same arguments. `report` gets
    mappings with a `kind`: progress each ten seconds on rank 0, validation on every rank. `stop_after` is in seconds
    from now. Raises ConfigError for what cannot work, TrainingError for a loss that is not a number.
    """
    out, config = Path(out), settled(config, Path(out))
    stopping = Stopping(out, stop_after)
    _require_possible(config, options, world)
    start = prepare(config, proteins, out, rank=rank, world=world)
    if world == 1:
        (out / STOP_FILE).unlink(missing_ok=True)  # of a process that was killed
    data = training_set(proteins, start.directory, config)
    if rank == 0:
        settle_baselines(out, data, report or (lambda _: None))
    with stopping.signals():
        return _Run(config, options, data, start, out, rank, world, report or (lambda _: None), stopping).run()


class _Run:
    """One run from its start or its newest checkpoint on."""

    def __init__(
        self, config: TrainingConfig, options: TrainingOptions, data: TrainingSet, start: RunStart, out: Path,
        rank: int, world: int, report: Report, stopping: Stopping,
    ) -> None:  # fmt: skip
        self.config, self.options, self.data, self.start, self.out = config, options, data, start, out
        self.rank, self.world, self.report, self.stopping = rank, world, report, stopping
        self.steps = steps_of_run(config, data.plan.first.steps)
        self.device = device_of(options)
        whole = model_files.checkpoints(out)
        self.trainee = self._load(whole[-1] if whole else None)
        self.model = self.trainee.model
        self.optimiser = Optimiser(self.model, config)
        self.stepper = Stepper(self.trainee.objective, self.optimiser, config, world=world)
        self.state = RunState.fresh((self.stepper.scale, self.stepper.grown))
        if whole:
            self._resume(whole[-1])
        self.written_at = time.monotonic()
        self.quick = data.validation_packs(data.validation_rows(QUICK_TOKENS))
        self.metrics = MetricsFile(out, self.state.step) if rank == 0 else None
        self.meter = RateMeter(self.steps, config.step_tokens)

    def run(self) -> TrainingSummary:
        """Take every step that is left, or stop before; returns how it ended."""
        try:
            stopped = self._take_steps() if self.state.step < self.steps else None
            final = self._finish() if stopped is None else None
            return TrainingSummary(self.out, self.state.step, self.steps, self.state.tokens, stopped, final)
        finally:
            if self.metrics is not None:
                self.metrics.close()

    def _load(self, checkpoint: Path | None) -> Trainee:
        asked = "off" if self.config.feature_maps != "none" else self.options.compile
        layers = choose_compiling(self.device, "", asked=asked, variant=self.config.variant)
        return Trainee.load(self.config, self.start, checkpoint, device=self.device, compiled=layers.name == ON)

    def _resume(self, checkpoint: Path) -> None:
        self.state = RunState.from_json(model_files.read_state(checkpoint))
        self.optimiser.restore(model_files.read_optimizer(checkpoint))
        self.stepper.scale, self.stepper.grown = self.state.loss_scale
        self._note(f"goes on from {checkpoint.name}")

    def _take_steps(self) -> str | None:
        """Take steps; returns why they ended before the last, None otherwise."""
        lag = self.device.type == "cuda"  # a CPU is done when a step returns
        before: _Launched | None = None
        with PackFeed(self.data.pack, rank=self.rank, world=self.world) as feed:
            for step, packs in feed.steps(self.data.plan.steps(self.state.epoch, self.state.epoch_step)):
                launched = self._launch(step, packs)
                stop = before is not None and self._read(before)
                before = launched
                if stop or not lag or self._is_boundary():
                    stop, before = self._read(launched) or stop, None
                    self._at_boundary(stop)
                if self.state.step == self.steps:
                    return None
                if stop:
                    return self.stopping.reason
        raise AssertionError("a plan has no last step")

    def _launch(self, step: PlannedStep, packs: Iterator[MaskedPack]) -> _Launched:
        """Start one optimiser step, and count it."""
        numbers = range(self.rank, len(step.packs), self.world)
        inputs = (
            RankPack(number, self.model.to_device(pack), self.trainee.targets(pack))
            for number, pack in zip(numbers, packs, strict=True)
        )
        pending, rate = self.stepper.run(
            self.state.step, self.steps, inputs, lambda pack: self.data.ids(step, pack), stop=self.stopping.wanted()
        )
        tokens = self.data.plan.tokens(step)
        self.state = self.state.after(step.last, tokens, (self.stepper.scale, self.stepper.grown))
        return _Launched(self.state, step.epoch, tokens, rate, pending)

    def _read(self, launched: _Launched) -> bool:
        """Write down what a step came to; returns whether a rank asked to stop."""
        result = launched.pending.result()
        line = {
            "step": launched.state.step, "epoch": launched.epoch, "tokens": launched.state.tokens, "loss": result.loss,
            "targets": result.targets, "learning_rate": launched.rate, "gradient_norm": result.gradient_norm,
            "tokens_per_second": self.meter.rate(launched.tokens),
        }  # fmt: skip
        if self.metrics is not None:
            self.metrics.write("step", line)
            if rate := self.meter.report(launched.state.step):
                what = {"objective": self.trainee.objective_name}
                self.report({"kind": "progress", "steps": self.steps, **what, **line, **rate})
        return result.stop

    def _is_boundary(self) -> bool:
        """Whether a validation or a checkpoint comes after this step; checkpoints are rank 0's alone."""
        return self._is_validated() or (self.rank == 0 and self._is_checkpoint_due())

    def _is_validated(self) -> bool:
        return self.state.step % self.config.validation_every == 0 or self.state.step == self.steps

    def _is_checkpoint_due(self) -> bool:
        return time.monotonic() - self.written_at >= 60 * self.options.checkpoint_minutes

    def _at_boundary(self, stop: bool) -> None:
        """Validate where the plan says so, and write a checkpoint where one is due."""
        if self._is_validated():
            with self.optimiser.averaged():
                found = self.trainee.validation(self.quick, self.data, rank=self.rank, world=self.world)
            self.state = self.state.with_validation(found.loss)
            self._write("validation", found)
        best, last = self.state.best_step == self.state.step, self.state.step == self.steps
        if self.rank == 0 and (best or stop or last or self._is_checkpoint_due()):
            self._checkpoint()

    def _write(self, kind: str, found: ValidationLoss) -> None:
        values = {"step": self.state.step, "tokens": self.state.tokens, **found.to_json()}
        if self.metrics is not None:
            self.metrics.write(kind, values)
        self.report({"kind": "validation", "steps": self.steps, **values})

    def _checkpoint(self) -> None:
        """Write the model as it is now, with what a resume needs; remove older ones."""
        if self.metrics is not None:
            self.metrics.flush()
        state = state_json(self.state, self.start.plan, self.world)
        with self.optimiser.averaged():
            weights = self.trainee.tensors()
        model_files.write_checkpoint(
            self.out, state, lambda place: self.trainee.write(place, weights, self.start), self.optimiser.tensors()
        )
        model_files.write_best(self.out, self.state.best_step, self.state.best_loss)
        model_files.prune(self.out, self.options.keep, self.state.best_step)
        self.written_at = time.monotonic()

    def _finish(self) -> ValidationLoss:
        """Make the best checkpoint the model of the run, and evaluate it on the whole validation side."""
        if self.world > 1:
            torch.distributed.barrier()  # its last checkpoint is rank 0's to write
        best = model_files.best_checkpoint(self.out)
        packs = self.data.validation_packs(self.data.validation_rows())
        found = self._load(best).validation(packs, self.data, rank=self.rank, world=self.world)
        if self.rank == 0:
            self.trainee.publish(best, self.out / "model")
        self._write(FINAL, found)
        return found

    def _note(self, text: str) -> None:
        if self.rank == 0:
            self.report({"kind": "note", "text": text})


def device_of(options: TrainingOptions) -> torch.device:
    """Where the steps run; raises ConfigError for a GPU that is not there."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: torch sees no GPU here; set device to cpu or auto", where="training")
    on_gpu = options.device == "cuda" or (options.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def _require_possible(config: TrainingConfig, options: TrainingOptions, world: int) -> None:
    if config.feature_maps != "none" and options.compile == "on":
        raise ConfigError("compile on: a run that learns feature maps looks into every layer and is not compiled; "
                          "leave compile unset", where="training")  # fmt: skip
    packs = config.step_tokens // config.pack_tokens
    if world > packs:
        raise ConfigError(f"{world} workers share {packs} pack(s) a step: use {packs} workers at most, or smaller "
                          "pack_tokens", where="training")  # fmt: skip
