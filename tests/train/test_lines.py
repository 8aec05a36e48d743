"""What a training run is at is said until it takes steps."""

from __future__ import annotations

import pytest

from protea_ray.cluster.phases import Phase
from protea_ray.train.lines import TrainingLines, training_lines

PROGRESS = {
    "kind": "progress", "step": 5, "steps": 20, "loss": 2.9, "tokens_per_second": 4282.4, "seconds_left": 75.0,
}  # fmt: skip


def test_a_phase_lasts_until_the_first_report_of_steps() -> None:
    now, said, shown = [0.0], list[str](), list[str]()
    phase = Phase(said.append, lambda: now[0])
    lines = TrainingLines(said.append, lambda text, _: shown.append(text), phase)
    lines.phase("reading the proteins of s")
    lines.phase("making fresh weights of shape small")
    for now[0] in (2.0, 12.0):
        phase.look()
    lines(PROGRESS)
    now[0] = 99.0
    phase.look()
    assert said == [
        "reading the proteins of s ...",
        "making fresh weights of shape small ...",
        "making fresh weights of shape small: 0:12 so far",
    ]
    assert len(shown) == 1


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for loudness, lines in (("quiet", 0), ("normal", 3)):
        with training_lines(loudness) as report:  # type: ignore[arg-type]
            report.phase("reading the proteins of s")
            report.note("note")
            report(PROGRESS)
        assert len(capsys.readouterr().err.splitlines()) == lines
