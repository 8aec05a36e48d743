"""What a run is at is said while a call blocks, wherever standard error is pointed to meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from protea_ray.cluster.phases import Phase, own_stderr, repeated, write_line
from tests.clock import Clock


def test_a_phase_is_said_again_after_each_ten_silent_seconds() -> None:
    said: list[str] = []
    clock = Clock()
    phase = Phase(said.append, clock)
    phase.begin("starting Ray")
    for clock.now in (9.0, 10.0, 15.0, 20.0):
        phase.look()
    assert said == ["starting Ray ...", "starting Ray: 0:10 so far", "starting Ray: 0:20 so far"]
    phase.heard()
    clock.now = 29.0
    phase.look()
    phase.begin(None)
    clock.now = 99.0
    phase.look()
    assert len(said) == 3


def test_a_phase_that_is_over_within_a_second_has_no_line() -> None:
    said: list[str] = []
    clock = Clock()
    phase = Phase(said.append, clock)
    for clock.now, text in ((0.0, "first"), (0.5, "short"), (0.9, "long")):
        phase.begin(text)
        phase.look()
    clock.now = 2.0
    phase.look()
    assert said == ["first ...", "long ..."]


def test_a_thread_speaks_while_the_main_one_waits() -> None:
    spoken = threading.Event()
    calls: list[int] = []

    def look() -> None:
        calls.append(1)
        spoken.set()

    with repeated(look, seconds=0.001):
        assert spoken.wait(60)
    before = len(calls)
    assert not [thread for thread in threading.enumerate() if thread.name == "protea-ray-phases"]
    assert len(calls) == before


def test_what_is_said_arrives_while_standard_error_is_pointed_to_nowhere() -> None:
    """As `cluster.connect` does it while Ray starts."""
    code = (
        "import os\n"
        "from protea_ray.cluster.phases import own_stderr, write_line\n"
        "with own_stderr() as stream:\n"
        "    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"
        "    write_line('starting Ray', stream)\n"
        "    os.write(2, b'noise')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "starting Ray\n"


def test_an_error_of_the_block_is_not_hidden() -> None:
    with pytest.raises(FileNotFoundError), own_stderr():
        raise FileNotFoundError("x")


def test_a_closed_standard_error_is_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with own_stderr() as stream:
        write_line("starting", stream)
    assert capsys.readouterr().out == ""
