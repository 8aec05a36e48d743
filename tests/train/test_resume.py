"""A run that was stopped anywhere ends with the weights of one that never was, and a place holds one plan."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from protea_ray.config.training import TrainingOptions
from protea_ray.errors import ConfigError, TrainingError
from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.metrics_file import read_metrics
from protea_ray.train.proteins import from_table
from protea_ray.train.train_here import train_here
from tests.train.runs import VOCABULARY, module_arguments, newest, proteins, recipe, same, train, weights


class KilledError(BaseException):
    """Ends a run without any of its own clean-up, as a kill does, but for open files."""


def killed_at(step: int, kind: str = "validation") -> Any:
    def report(event: Mapping[str, Any]) -> None:
        if event["kind"] == kind and event["step"] >= step:
            raise KilledError

    return report


def terminated_at(step: int) -> Any:
    def report(event: Mapping[str, Any]) -> None:
        if event["kind"] == "validation" and event["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return report


@pytest.mark.parametrize("fields", [
    {"dropout": 0.1, "ema": 0.9, "optimiser": "muon"}, {"dtype": "bfloat16"}, {"schedule": "cosine", "epochs": 3.5},
])  # fmt: skip
def test_terminated_in_the_middle_and_started_again(tmp_path: Path, fields: dict[str, Any]) -> None:
    if "epochs" in fields:
        fields |= {"tokens": None}
    config = recipe(tmp_path, **fields)
    train(config, tmp_path / "whole")
    stopped = train(config, tmp_path / "halves", terminated_at(10))
    assert (stopped.stopped, stopped.step) == ("SIGTERM", 11)
    done = train(config, tmp_path / "halves")
    assert (done.stopped, done.step) == (None, done.steps)
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "halves"))
    assert not same(newest(tmp_path / "whole"), tmp_path / "whole" / "start")


def test_killed_right_after_a_report_before_its_checkpoint(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    train(config, tmp_path / "whole")
    for step in (5, 10, 20):  # at 5 nothing is written yet
        with pytest.raises(KilledError):
            train(config, tmp_path / "parts", killed_at(step), keep=1)
    train(config, tmp_path / "parts")
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "parts"))
    steps = [line["step"] for line in read_metrics(tmp_path / "parts") if line["kind"] == "step"]
    assert steps == list(range(1, 21))  # what was written and lost again is there once


def test_stopped_exactly_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    config = recipe(tmp_path, validation_every=1)
    train(config, tmp_path / "whole")
    epochs = [line["epoch"] for line in read_metrics(tmp_path / "whole") if line["kind"] == "step"]
    end = epochs.index(1)  # steps of epoch 0
    assert 3 < end < 15 and epochs[end - 1] == 0
    with pytest.raises(KilledError):
        train(config, tmp_path / "parts", killed_at(end + 1))
    state = json.loads((newest(tmp_path / "parts") / "state.json").read_text())
    assert (state["step"], state["epoch"], state["epoch_step"]) == (end, 1, 0)
    train(config, tmp_path / "parts")
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "parts"))


def test_another_plan_in_the_same_place_is_refused_with_what_differs(tmp_path: Path) -> None:
    train(recipe(tmp_path), tmp_path / "out")
    before = newest(tmp_path / "out").stat().st_mtime_ns
    with pytest.raises(ConfigError) as caught:
        train(recipe(tmp_path, learning_rate=2e-3, seed=7), tmp_path / "out")
    listed = "\n".join(caught.value.problems)
    assert "learning_rate: 0.001 there, 0.002 now" in listed and "seed: 0 there, 7 now" in listed
    assert "crop" not in listed
    with pytest.raises(ConfigError, match=r"data\.digest"):
        train_here(recipe(tmp_path), _on_cpu(), proteins(seed=1), tmp_path / "out")
    assert newest(tmp_path / "out").stat().st_mtime_ns == before


def test_a_finished_run_answers_at_once(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    first, again = train(config, tmp_path / "out"), train(config, tmp_path / "out")
    assert first == again and first.validation is not None
    assert sum(line["kind"] == "final" for line in read_metrics(tmp_path / "out")) == 1


def test_a_loss_that_is_not_a_number_names_step_and_proteins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One protein is all U, which no mask touches: the packs that hold it are spoilt."""
    losses, spoilt = MaskedModel.losses, []

    def spoiling(self: MaskedModel, ids: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        found = losses(self, ids, *more, **named)
        spoilt.append(bool((ids == VOCABULARY.index("U")).sum() > 10))
        return found * float("nan") if spoilt[-1] else found

    monkeypatch.setattr(MaskedModel, "losses", spoiling)
    data = from_table(pa.table({
        "id": [*proteins().ids(range(120)), "selenium"], "sequence": [*proteins().sequences(range(120)), "U" * 30],
        "cluster": range(121), "is_validation": [i % 10 == 3 for i in range(121)],
    }))  # fmt: skip
    with pytest.raises(TrainingError) as caught:
        train_here(recipe(tmp_path), _on_cpu(), data, tmp_path / "out")
    step = spoilt.index(True) // 4
    assert len(spoilt) == 4 * (step + 1)  # nothing was computed after it
    assert str(caught.value).startswith(f"step {step}: the loss is not a number. Its proteins: ")
    named = str(caught.value).split("proteins: ")[1].split(". The")[0].replace(" and ", ", ").split(", ")
    assert "selenium" in named and 1 < len(named) < 10
    lengths = dict(zip(data.ids(range(121)), data.lengths.tolist(), strict=True))
    assert sum(min(lengths[name], 40) + 2 for name in named) <= 96  # one pack's proteins and no others
    for checkpoint in (tmp_path / "out" / "checkpoints").iterdir():
        assert all(torch.isfinite(value).all() for value in weights(checkpoint).values())


def _on_cpu() -> TrainingOptions:
    return TrainingOptions(device="cpu")


@pytest.mark.slow
def test_a_process_that_is_killed_hard_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """20 steps = some + SIGKILL of the whole process at a moment of its own + the rest."""
    config = recipe(tmp_path)
    data = proteins()
    command = [sys.executable, "-m", "protea_ray.train", *module_arguments(config, tmp_path)]
    command += ["--set", "run.checkpoint_minutes=1e-6"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 10:" in line:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 5 <= int(newest(tmp_path / "out").name[-8:]) < 20
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    train_here(config, _on_cpu(), data, tmp_path / "whole")
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "out"))
