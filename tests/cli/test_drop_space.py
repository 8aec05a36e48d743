"""`drop-space` asks before it deletes, and where there is nobody to ask it says which command means it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from protea_ray.cli import store as commands
from protea_ray.cli.main import app
from protea_ray.store import aliases
from protea_ray.store.location import Location
from protea_ray.store.spaces import ensure_space
from tests.commands import call
from tests.store import build

OLD = "old-00000002"


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """A store with a space that `current` pointed to before."""
    place = build.store(tmp_path / "my store", range(5))
    ensure_space(place, build.info(OLD, identity={"files": {}}), build.schema())
    build.fill(place, OLD, range(5), "r2.0", build.schema())
    for space in (OLD, build.info().name):
        aliases.move(place, "current", space, run="r", writer=build.writer())
    return place


def answer(location: Location, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and standard error of a command whose question is answered so."""
    monkeypatch.setattr(commands, "can_ask", lambda: True)
    done = CliRunner().invoke(app, ["drop-space", location.uri, OLD], input=text)
    return done.exit_code, done.stderr


def test_a_script_is_told_the_command(location: Location) -> None:
    done = call("drop-space", location.uri, OLD)
    assert done.returncode == 2
    assert f"{OLD} holds 5 rows, " in done.stderr
    assert "current pointed to it before" in done.stderr
    assert location.exists(OLD)

    command = shlex.split(done.stderr.rsplit("to delete it: ", 1)[1])
    assert command == ["protea-ray", "drop-space", location.uri, OLD, "--yes"]
    assert call(*command[1:]).returncode == 0
    assert not location.exists(OLD)


@pytest.mark.parametrize("no", ["n\n", "\n"])
def test_no_is_the_answer_that_deletes_nothing(location: Location, no: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = answer(location, no, monkeypatch)
    assert code == 1
    assert f"Delete {OLD} (5 rows, " in said
    assert said.rstrip().endswith("nothing was deleted")
    assert location.exists(OLD)


def test_yes_deletes(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(location, "y\n", monkeypatch)[0] == 0
    assert not location.exists(OLD)


def test_a_dry_run_asks_nobody_and_an_alias_still_holds_its_space(location: Location) -> None:
    assert call("drop-space", location.uri, OLD, "--dry-run").returncode == 0
    assert "current points to; move the alias first" in call("drop-space", location.uri, build.info().name).stderr
    assert location.exists(OLD)
