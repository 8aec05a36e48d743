"""Progress counts what came back and foretells the end from predicted cost."""

from __future__ import annotations

import pytest

from protea_ray.display import clock_time
from protea_ray.pipeline.progress import LineReporter, Meter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_follows_cost_and_not_the_number_of_proteins() -> None:
    clock = Clock()
    meter = Meter(proteins=100, residues=50_000, seconds=400.0, clock=clock)
    clock.now += 60  # models load

    meter.advance(proteins=90, residues=9_000, seconds=100.0, took=10.0, rejects=1)  # a quarter of the work

    assert meter.fraction == 0.25
    assert meter.line() == "25 %  90/100 proteins  1 rejected  900 residues/s  0:30 left"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75, "1:15"), (4000, "1:06:40")])
def test_clock_time(seconds: float, text: str) -> None:
    assert clock_time(seconds) == text


def test_lines_come_each_thirty_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = LineReporter(clock)
    lines.start(proteins=4, residues=400, seconds=40.0)
    for seconds in (10, 25, 5, 5):
        clock.now += seconds
        lines.advance(1, 100, 10.0, 5.0, 0)

    printed = capsys.readouterr().err.splitlines()

    assert [line.split()[2] for line in printed] == ["2/4", "4/4"]
