"""`reembed --gate`: mistakes before anything starts, every figure printed, an exit code of its own."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protea_ray.cli.show_reembed import tell_each
from protea_ray.evaluate import gate as judging
from protea_ray.pipeline import reembed as running
from protea_ray.pipeline.gate_figures import GateResult
from protea_ray.pipeline.reembed import Reembedded
from protea_ray.pipeline.watch import Seen, Taken
from tests.commands import Done, call
from tests.pipeline.test_gate import IDLE, MET, MISSED, SUMMARY

GATE = "tasks: [{task: localization, at_least: 0.5}]"


def outcome(*figures: Any, moved: bool = False) -> Reembedded:
    result = GateResult("gate.yaml", figures, notes=("one control is missing",))
    stays = None if moved else result.sentence()
    return Reembedded(SUMMARY, "current", "old", "new" if moved else "old", moved, None, stays, result)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "s" / "proteins.lance").mkdir(parents=True)
    return tmp_path / "s"


def reembed(store: Path, gate: Path, *options: str) -> Done:
    return call("reembed", store, "--model", "small", "--gate", gate, *options)


def finished(monkeypatch: pytest.MonkeyPatch, done: Reembedded) -> None:
    """Let the command end with `done`, without a model, a store or Ray."""
    setting = SimpleNamespace(options=SimpleNamespace(max_rejects=None))
    monkeypatch.setattr(running, "prepare", lambda *_, **__: SimpleNamespace(setting=setting))
    monkeypatch.setattr(running, "carry_out", lambda *given: done if given[3] == "judge" else None)
    monkeypatch.setattr(judging, "open_gate", lambda *_: "judge")


def test_mistakes_of_file_and_options_are_told_together_and_at_once(store: Path, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("tasks: [{task: localization, at_leest: 0.5}]")

    done = reembed(store, tmp_path / "gate.yaml", "--pooling", "meen")

    assert done.returncode == 2
    assert "meen" in done.stderr
    assert "did you mean tasks[0].at_least?" in done.stderr
    assert "starting" not in done.stderr
    missing = reembed(store, tmp_path / "gait.yaml")
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: --gate: ")
    assert "did you mean" in missing.stderr


def test_tasks_that_cannot_be_read_are_told_before_the_checkpoint_is_opened(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gate.yaml").write_text(GATE)
    monkeypatch.setattr(running, "prepare", lambda *_, **__: pytest.fail("too late"))

    done = reembed(store, tmp_path / "gate.yaml")

    assert done.returncode == 2
    assert "localization needs the folder with its files" in done.stderr


def test_a_gate_that_is_not_passed_prints_every_figure_and_ends_with_6(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gate.yaml").write_text(GATE)
    finished(monkeypatch, outcome(MET, MISSED, IDLE))

    done = reembed(store, tmp_path / "gate.yaml", "--json")

    assert done.returncode == 6
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["figure", "loc", "loc", "drift"]
    assert lines[2].split()[-6:] == ["-0.0100", "-0.0200", "-0.0300", "to", "-0.0100", "FAILED"]
    assert "note: one control is missing" in lines
    assert any(line.startswith("current stays at old: the gate gate.yaml is not passed: 1 of 3") for line in lines)
    assert "the new space is kept; `protea-ray alias s current new` moves the alias all the same" in lines
    assert json.loads(lines[-1])["gate"]["passed"] is False


def test_a_gate_that_is_passed_ends_with_0(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gate.yaml").write_text(GATE)
    finished(monkeypatch, outcome(MET, moved=True))

    done = reembed(store, tmp_path / "gate.yaml")

    assert done.returncode == 0, done.stderr
    assert "the gate gate.yaml is passed: 1 condition(s) met" in done.stdout
    assert "current moved from old to new" in done.stdout


@pytest.mark.parametrize(("figure", "code"), [(MISSED, 6), (MET, None)])
def test_a_watch_ends_with_what_became_of_the_last_checkpoint(
    figure: Any, code: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = Taken(Seen("m", None, "s", True), outcome(figure, moved=figure is MET), None)
    if code is None:
        tell_each(iter([taken]), as_json=False)
    else:
        with pytest.raises(Exception) as left:
            tell_each(iter([taken]), as_json=False)
        assert left.value.exit_code == code  # type: ignore[attr-defined]
    assert "loc macro_f1 (linear)" in capsys.readouterr().out
