"""What is recorded of a training's events, and what a meter of its rate says of a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protea_ray.cluster import ray_metrics as m
from protea_ray.train import rate_meter
from protea_ray.train.rate_meter import RateMeter
from protea_ray.train.training_metrics import recorded as with_metrics
from tests.recorded_metrics import RecordedMetrics

PROGRESS: dict[str, Any] = {
    "kind": "progress", "step": 5, "steps": 20, "epoch": 0, "tokens": 5000, "loss": 2.9, "targets": 700,
    "learning_rate": 1e-3, "gradient_norm": 0.7, "tokens_per_second": 500.0, "step_seconds": 2.0, "seconds_left": 30.0,
}  # fmt: skip


def test_each_event_is_recorded_and_passed_on(recorded: RecordedMetrics) -> None:
    passed: list[Any] = []
    report = with_metrics(passed.append, Path("/somewhere/else/nightly"))
    events = [PROGRESS, {"kind": "validation", "step": 6, "steps": 20, "loss": 2.5}, {"kind": "note", "text": "step"}]
    for event in events:
        report(event)

    assert passed == events
    figures = (m.STEPS, m.TRAINED, m.LOSS, m.GRADIENT, m.STEP_SECONDS, m.TRAINING_LEFT, m.VALIDATION_LOSS)
    assert [recorded.last(metric, run="nightly") for metric in figures] == [20, 5000, 2.9, 0.7, 2.0, 30.0, 2.5]
    assert recorded.last(m.STEP) == 6
    assert {tuple(of.items()) for _, _, of in recorded.values} == {(("run", "nightly"),)}, "no path is a tag"


def test_what_is_not_known_is_not_recorded(recorded: RecordedMetrics) -> None:
    with_metrics(lambda _: None, Path("out"))({**PROGRESS, "gradient_norm": None, "loss": 0.0})
    assert not recorded.by(m.GRADIENT, "run") and recorded.last(m.LOSS) == 0.0


def test_the_time_of_a_step_is_the_mean_since_the_last_report(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(rate_meter.time, "monotonic", lambda: now[0])
    meter = RateMeter(steps=10, step_tokens=100)
    found = []
    for step in range(1, 11):
        now[0] += 4.0 if step <= 3 else 2.0
        meter.rate(90)
        found.append(meter.report(step))
    reports = [(step, report["step_seconds"]) for step, report in enumerate(found, 1) if report]
    assert reports == [(3, 4.0), (8, 2.0), (10, 2.0)]
