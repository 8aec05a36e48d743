"""A run on Ray's workers: the weights do not depend on how many there are, nor on one that is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from protea_ray.cluster import ray_metrics as m
from protea_ray.config.training import TrainingOptions
from protea_ray.errors import ConfigError
from protea_ray.train.ray_workers import train_on_workers
from protea_ray.train.train_here import train_here
from tests.recorded_metrics import RecordedMetrics
from tests.train.runs import newest, proteins, recipe, train, weights

TWO = TrainingOptions(device="cpu", workers=2)


def assert_near(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=1e-5, msg=name)


def workers() -> list[psutil.Process]:
    """The processes of Ray Train's workers below this one."""
    return [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(_words(p))]


def _words(process: psutil.Process) -> list[str]:
    """The command of a process; nothing when it has ended meanwhile, as earlier tests' workers do."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie is one too
        return []


@pytest.mark.slow
def test_a_worker_killed_right_after_a_report(cluster: None, tmp_path: Path, recorded: RecordedMetrics) -> None:
    """Two workers, one killed hard: the group starts again from the last checkpoint and ends as one process does."""
    config = recipe(tmp_path, dropout=0.1)
    killed: list[int] = []
    notes: list[str] = []

    def report(event: Mapping[str, Any]) -> None:
        if event["kind"] == "note":
            notes.append(event["text"])
        if event["kind"] == "validation" and not killed:
            held = workers()
            assert len(held) == 2
            held[0].kill()
            killed.append(held[0].pid)

    done = train_on_workers(config, TWO, proteins(), tmp_path / "two", report)
    assert killed and (done.stopped, done.step) == (None, 20)
    assert recorded.last(m.STEP, run="two") == recorded.last(m.STEPS, run="two") == 20
    assert done.validation is not None and recorded.last(m.VALIDATION_LOSS) == done.validation.loss
    assert recorded.last(m.TRAINED) == done.tokens and recorded.last(m.TRAINING_LEFT) == 0
    state = json.loads((newest(tmp_path / "two") / "state.json").read_text())
    assert (state["step"], state["world"]) == (20, 2)
    train(config, tmp_path / "one")
    assert_near(newest(tmp_path / "one"), newest(tmp_path / "two"))
    assert not (tmp_path / "two" / "ray").exists()


@pytest.mark.slow
def test_terminated_with_two_workers_and_ended_by_one(cluster: None, tmp_path: Path) -> None:
    config = recipe(tmp_path, validation_every=2)

    notes: list[str] = []

    def report(event: Mapping[str, Any]) -> None:
        if event["kind"] == "note":
            notes.append(event["text"])
        if event["kind"] == "validation" and event["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = train_on_workers(config, TWO, proteins(), tmp_path / "parts", report)
    assert [note for note in notes if note.startswith("stopping after")] == notes[-1:]
    assert stopped.stopped == "SIGTERM" and 4 <= stopped.step < 20
    done = train_here(config, TrainingOptions(device="cpu"), proteins(), tmp_path / "parts")
    assert (done.stopped, done.step) == (None, 20)
    train(config, tmp_path / "one")
    assert_near(newest(tmp_path / "one"), newest(tmp_path / "parts"))


@pytest.mark.slow
def test_what_is_wrong_in_a_worker_is_said_once_and_in_its_own_words(cluster: None, tmp_path: Path) -> None:
    train(recipe(tmp_path), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.001 there, 0\.002 now"):
        train_on_workers(recipe(tmp_path, learning_rate=2e-3), TWO, proteins(), tmp_path / "out")


def test_more_workers_than_the_cluster_has(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers 4000: the cluster has"):
        train_on_workers(recipe(tmp_path), TrainingOptions(device="cpu", workers=4000), proteins(), tmp_path / "out")
