"""Verdicts, the exit code and the files of a report; what fails, hangs or is missing stops no other line."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from protea_ray.acceptance import machine as machine_module
from protea_ray.acceptance.all_parts import accept
from protea_ray.acceptance.difference import difference
from protea_ray.acceptance.picture import draw
from protea_ray.acceptance.verdicts import AcceptanceReport, Line, Measured, NotHereError, time_limit
from protea_ray.errors import ConfigError
from tests.commands import call


@pytest.fixture
def report(tmp_path: Path) -> AcceptanceReport:
    return AcceptanceReport(tmp_path / "out", {"card": "none"}, say=lambda _: None)


def written(report: AcceptanceReport) -> dict:
    return json.loads((report.out / "acceptance.json").read_text())


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (Measured(2e-5, 2e-5), "ok"),
        (Measured(2.1e-5, 2e-5), "missed"),
        (Measured(math.inf, 2e-5), "missed"),
        (Measured(math.nan, 2e-5), "missed"),
        (Measured(math.nan), "missed"),
        (Measured(0.55, 0.55, at_least=True), "ok"),
        (Measured(0.54, 0.55, at_least=True), "missed"),
        (Measured(0.0, 0), "ok"),
        (Measured(1.0, 0), "missed"),
        (Measured(123.0), "ok"),
        (Measured(None, 1.0), "ok"),
    ],
)
def test_a_value_is_judged_by_its_bound(measured: Measured, verdict: str, report: AcceptanceReport) -> None:
    report.run("numbers", "a line", lambda: measured)
    assert [line.verdict for line in report.lines] == [verdict]
    assert report.exit_code == int(verdict == "missed")


def test_every_line_stands_alone_and_is_written_at_once(report: AcceptanceReport) -> None:
    def wrong() -> Measured:
        raise ValueError("a | b\nc")

    def absent() -> Measured:
        raise NotHereError("no GPU here")

    assert report.run("speed", "good", lambda: Measured(1.0, 2.0))
    assert report.exit_code == 0
    assert not report.run("speed", "wrong", wrong)
    assert [line["verdict"] for line in written(report)["lines"]] == ["ok", "failed"]
    assert not report.run("speed", "absent", absent)
    assert report.run("speed", "two", lambda: {"a": Measured(1.0), "b": Measured(3.0, 2.0)})
    found = written(report)
    assert [line["verdict"] for line in found["lines"]] == ["ok", "failed", "not run", "ok", "missed"]
    assert [line["line"] for line in found["lines"]][3:] == ["two, a", "two, b"]
    assert found["exit_code"] == report.exit_code == 1
    assert "in wrong" in found["lines"][1]["more"]["traceback"]
    page = (report.out / "acceptance.md").read_text()
    assert "2 ok, 1 missed, 1 failed, 1 not run" in page and "ValueError: a / b c" in page and "no GPU here" in page


def test_missing_things_alone_are_no_failure(report: AcceptanceReport) -> None:
    report.not_run("pipeline", "every line", "ray cannot be imported")
    assert report.exit_code == 0


def test_a_part_that_spent_its_time_runs_no_more_lines(report: AcceptanceReport) -> None:
    report.start(-1)
    assert not report.run("speed", "late", lambda: pytest.fail("was run"))
    assert report.lines[0].message == "the time of this part was spent"
    report.start(10, adding=True)
    assert report.run("speed", "next", lambda: Measured(1.0))


def test_seconds_that_were_overspent_are_taken_from_the_next_share(report: AcceptanceReport) -> None:
    report.start(-100)
    report.start(50, adding=True)
    assert not report.run("speed", "late", lambda: Measured(1.0))


def test_a_line_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch, report: AcceptanceReport) -> None:
    import signal

    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout has it otherwise
    left = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        report.run("speed", "hangs", lambda: time.sleep(60), limit=0.05)  # type: ignore[arg-type, return-value]
        with pytest.raises(TimeoutError, match="more than 0 s"), time_limit(0.05):
            time.sleep(60)
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *left)
    assert [(line.verdict, line.message) for line in report.lines] == [("failed", "TimeoutError: took more than 0 s")]


def test_differences_are_of_whole_matrices_and_a_lost_protein_is_infinite() -> None:
    a, b = np.ones((2, 3), np.float32), np.full((2, 3), 1.1, np.float32)
    found = difference([b, a, None], [a, a, None])
    assert found.relative == pytest.approx(0.1, rel=1e-5) and found.mean == pytest.approx(0.05, rel=1e-5)
    assert found.absolute == pytest.approx(0.1, rel=1e-5) and found.squared == pytest.approx(0.005, rel=1e-4)
    assert (found.compared, found.lost, found.worst) == (2, 0, found.relative)
    assert difference([None, a], [a, a]).worst == math.inf
    assert difference([np.full((2, 3), np.nan, np.float32), a], [a, a]).worst == math.inf
    assert difference([a], [None]).worst == math.inf  # nothing was compared


def test_the_picture_has_judged_lines_and_rates(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [
        Line("numbers", "x", 1e-6, None, 2e-5, "ok", 1.0),
        Line("speed", "650M", 0.5, None, 0.55, "missed", 1.0, at_least=True),
        Line("numbers", "lost", math.inf, None, 2e-5, "missed", 1.0),
        Line("speed", "650M float16, 1-128 residues, residues/s", 300_000.0, None, None, "ok", 1.0),
        Line("speed", "650M float16, 1,025-2,048 residues, residues/s", 200_000.0, 90_000.0, None, "ok", 1.0),
    ]
    assert draw(lines, tmp_path / "a.png") is None
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert draw([], tmp_path / "b.png") is None


def test_options_that_cannot_work_are_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="numbres is not one of numbers"):
        accept(tmp_path / "a", only="numbres")
    with pytest.raises(ConfigError, match=r"no CUDA device|is not one of"):
        accept(tmp_path / "a", device="cuda", only="" if not cuda() else "x")
    with pytest.raises(ConfigError, match="--minutes: must be above 0"):
        accept(tmp_path / "a", device="cpu", minutes=0)
    assert not (tmp_path / "a").exists()
    assert call("doctor", tmp_path / "a").returncode == 2
    assert "OUT, --only: only with --acceptance" in call("doctor", tmp_path / "a", "--only", "speed").stderr


def cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def test_utilisation_without_a_card_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with machine_module.Utilisation() as used:
        pass
    assert used.samples == []
    assert machine_module.machine("cpu")["python"]


def test_utilisation_is_what_the_tool_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 12; echo N/A; echo 98; exec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with machine_module.Utilisation() as used:
        for _ in range(100):
            if len(used.samples) == 2:
                break
            time.sleep(0.05)
    assert used.samples == [12, 98]
