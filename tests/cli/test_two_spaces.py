"""`drift --gate`: every figure printed, exit code 6, and drift that is accepted in so many words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from protea_ray.cli import two_spaces
from protea_ray.models.shipped import DEFAULT_MODEL
from protea_ray.sequences.synth import synthesise
from protea_ray.store.location import Location, open_location
from tests.commands import call, call_json
from tests.query.worked import embed_here

PROTEINS = {f"p{n}": s for n, s in enumerate(dict.fromkeys(p.sequence for p in synthesise(20, 11, None, 60)))}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    return open_location(tmp_path_factory.mktemp("drift") / "s")


@pytest.fixture(scope="module")
def spaces(location: Location, esm2: Path) -> dict[str, str]:
    """The trained model that ships, whole and in 4 bits, and a random one in 4 bits."""
    small = Path(DEFAULT_MODEL)
    return {
        "whole": embed_here(location, small, PROTEINS, "a"),
        "int4": embed_here(location, small, PROTEINS, "b", quantization="int4"),
        "random": embed_here(location, esm2, PROTEINS, "c", quantization="int4"),
    }


@pytest.fixture
def drift(location: Location, spaces: dict[str, str]):
    def run(a: str, b: str, *options: str):
        return call("drift", location.uri, spaces[a], spaces[b], "--set", "run.device=cpu", *options)

    return run


def test_a_space_that_loses_little_passes(location: Location, spaces: dict[str, str], drift) -> None:
    done = drift("whole", "int4", "--gate", "quantised")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("masked loss")]
    assert "not_above_current_by" in line
    assert "0.0500" in line
    assert "passed: masked loss: " in line
    assert "the gate quantised is passed: 1 condition(s) met" in done.stdout

    facts = call_json("drift", location.uri, spaces["whole"], spaces["int4"], "--gate", "quantised")
    (figure,) = facts["gate"]["figures"]
    assert (figure["wanted"], facts["gate"]["passed"], facts["accepted"]) == (0.05, True, False)
    assert figure["high"] <= 0.05
    assert facts["whole"]["proteins"] == len(PROTEINS)


def test_a_space_that_loses_much_ends_with_6_unless_that_is_accepted(drift) -> None:
    done = drift("whole", "random", "--gate", "quantised")
    assert done.returncode == 6
    assert "the gate quantised is not passed: 1 of 1 condition(s) failed" in done.stdout
    assert "accepted" not in done.stdout

    taken = drift("whole", "random", "--gate", "quantised", "--accept-drift")
    assert taken.returncode == 0
    (line,) = [line for line in taken.stdout.splitlines() if line.startswith("accepted: ")]
    assert line.startswith("accepted: masked loss, nats, not_above_current_by: ")
    assert line.endswith(", where 0.0500 was wanted")


def test_a_gate_file_judges_the_second_space_too(drift, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("masked_loss: {not_above_current_by: 0, proteins: 10}")
    assert drift("whole", "whole", "--gate", str(tmp_path / "gate.yaml")).returncode == 0
    assert drift("whole", "random", "--gate", str(tmp_path / "gate.yaml")).returncode == 6


@pytest.mark.parametrize(
    ("spaces_", "options", "message"),
    [
        (("whole", "int4"), ["--accept-drift"], "--accept-drift without --gate would do nothing"),
        (("whole", "int4"), ["--tasks", "go-mf", "--data", "."], "--tasks, --data without --gate"),
        (("whole", "int4"), ["--gate", "quantized"], "did you mean quantised?"),
        (("whole", "int4"), ["--gate", "gone.yaml"], "gone.yaml: no such file"),
        (("int4", "whole"), ["--gate", "quantised"], "is of full precision; name that one second"),
        (("whole", "int4"), ["--gate", "quantised", "--tasks", "go-mf"], "go-mf needs the folder with its files"),
        (("whole", "int4"), ["--gate", "quantised", "--data", "nowhere"], "nowhere: no such file"),
    ],
)
def test_mistakes_are_told_before_anything_is_compared(
    drift, spaces_: tuple[str, str], options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_spaces, "_judged", lambda *_: pytest.fail("too late"))
    done = drift(*spaces_, *options)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stdout == ""


def test_tasks_belong_into_a_gate_file(drift, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("masked_loss: {not_above_current_by: 0}")
    done = drift("whole", "int4", "--gate", str(tmp_path / "gate.yaml"), "--tasks", "go-mf")
    assert done.returncode == 2
    assert "--tasks: a gate file names its own tasks" in done.stderr
