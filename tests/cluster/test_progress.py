"""Progress counts what came back and foretells the end from predicted cost."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from protea_ray.cluster.meter import Meter
from protea_ray.cluster.phases import Loudness
from protea_ray.cluster.progress import BarReporter, LineReporter, NotebookReporter
from protea_ray.display import clock_time
from tests.clock import Clock


def test_time_left_follows_cost_and_not_the_number_of_proteins() -> None:
    clock = Clock(100.0)
    meter = Meter(proteins=100, residues=50_000, seconds=400.0, clock=clock)
    clock.now += 60  # models load

    meter.advance(proteins=90, residues=9_000, seconds=100.0, took=10.0, rejects=1)  # a quarter of the work

    assert meter.fraction == 0.25
    assert meter.line() == "25 %  90/100 proteins  1 rejected  900 residues/s  0:30 left"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75, "1:15"), (4000, "1:06:40")])
def test_clock_time(seconds: float, text: str) -> None:
    assert clock_time(seconds) == text


def test_lines_come_each_thirty_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(100.0)
    lines = LineReporter(clock)
    lines.start(proteins=4, residues=400, seconds=40.0)
    for seconds in (10, 25, 5, 5):
        clock.now += seconds
        lines.advance(1, 100, 10.0, 5.0, 0)

    printed = capsys.readouterr().err.splitlines()

    assert [line.split()[2] for line in printed] == ["2/4", "4/4"]


def test_before_the_first_unit_the_time_left_is_what_was_foretold() -> None:
    clock = Clock(100.0)
    meter = Meter(100, 50_000, 400.0, clock, foretold=75.0)
    clock.now += 15
    assert meter.line() == "0 %  0/100 proteins  about 1:00 left"
    clock.now += 75
    assert meter.line() == "0 %  0/100 proteins  longer than foretold"


def test_how_much_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    said: dict[Loudness, list[str]] = {}
    for loudness in ("quiet", "normal", "verbose"):
        lines = LineReporter(Clock(100.0), loudness)
        lines.phase("phase")
        lines.note("note")
        lines.detail("detail")
        lines.warn("warning")
        lines.start(1, 100, 1.0)
        lines.advance(1, 100, 1.0, 1.0, 0)
        said[loudness] = capsys.readouterr().err.splitlines()
    assert said["quiet"] == ["warning"]
    assert said["normal"][:3] == ["phase ...", "note", "warning"]
    assert said["verbose"][:4] == ["phase ...", "note", "detail", "warning"]
    assert said["normal"][-1].startswith("100 %  1/1 proteins")


def test_a_long_unit_does_not_silence_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(100.0)
    lines = LineReporter(clock)
    lines.start(4, 400, 40.0)
    lines.advance(1, 100, 10.0, 5.0, 0)
    for seconds in (29, 1, 29, 1):
        clock.now += seconds
        lines.look()
    assert len(capsys.readouterr().err.splitlines()) == 2


def bar(width: int) -> BarReporter:
    return BarReporter(Console(file=io.StringIO(), force_terminal=True, width=width))


@pytest.mark.parametrize(
    ("width", "columns", "words"),
    [
        (100, 20, "50 %  1,234,567/2,469,134 proteins  3 rejected  39k residues/s  "),
        (80, 0, "50 %  1,234,567/2,469,134 proteins  3 rejected  39k residues/s  "),
        (60, 0, "50 %  1,234,567/2,469,134 proteins  3 rejected  "),
        (50, 0, "50 %  1,234,567/2,469,134 proteins  "),
        (42, 20, "50 %  "),
        (20, 0, "50 %  "),
    ],
)
def test_the_bar_fits_the_terminal(width: int, columns: int, words: str) -> None:
    """What matters least goes first: the rate, rejects, counts; share and time left stay."""
    reporter, shown = bar(width), io.StringIO()
    reporter.start(2_469_134, 800_000_000, 2.0)
    reporter.advance(1_234_567, 390_000, 1.0, 10.0, 3)
    Console(file=shown, width=width).print(reporter.render())
    reporter.phase(None)
    (line,) = shown.getvalue().splitlines()
    assert len(line.rstrip()) < width
    assert words + "0:10 left" in line
    assert line.index(words) == (columns + 2 if columns else 0)


def test_results_go_where_standard_output_leads_while_the_live_line_is_shown() -> None:
    reporter = bar(80)
    before = sys.stdout
    reporter.phase("starting Ray")
    assert sys.stdout is before
    reporter.phase(None)


def test_a_notebook_has_one_line_that_is_replaced_and_what_is_said_beside_it() -> None:
    shown: list[str] = []
    said = io.StringIO()
    live = NotebookReporter(shown.append, said)
    live.phase("starting Ray")
    live.look()
    live.work("checking s", "rows", 4)
    live.look()
    live.worked(1)
    live.look()
    live.note("a name\x1b[2J of a file")
    live.phase(None)
    live.look()
    assert [text.split("  ")[0] for text in shown] == ["starting Ray", "checking s", "checking s", ""]
    assert "1/4 rows" in shown[2] and "1/4" not in shown[1]
    assert "\x1b" not in said.getvalue() and "of a file" in said.getvalue()


def test_counted_work_is_over_when_something_else_begins() -> None:
    stream, clock = io.StringIO(), Clock(5.0)
    lines, live = LineReporter(clock, stream=stream), bar(80)
    for reporter in (lines, live):
        reporter.work("checking s", "rows", 4)
        reporter.worked(1)
        reporter.phase("comparing")
        reporter.worked(3)  # of work that is over: not counted any more
    clock.now += 40
    lines.look()
    shown = str(live.render())
    live.phase(None)
    assert "comparing" in shown and "rows" not in shown
    assert stream.getvalue().splitlines() == ["checking s ...", "comparing ..."]
