"""A verified space gets the alias only when the gate is passed; a failed gate is recorded and leaves all else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.cluster.ray_metrics import Recorder
from protea_ray.config.run import RunOptions
from protea_ray.errors import CommitError
from protea_ray.pipeline import reembed as module
from protea_ray.pipeline.accounting import SpaceCount, Summary
from protea_ray.pipeline.gate_figures import Candidate, GateFigure, GateResult
from protea_ray.pipeline.loop import Tally
from protea_ray.pipeline.reembed import Reembedded, Reembedding, carry_out
from protea_ray.pipeline.stages import Stages
from protea_ray.store import aliases
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location
from protea_ray.store.runs import last_run
from protea_ray.store.spaces import ensure_space
from tests.store import build

MET = GateFigure("loc macro_f1 (linear)", "at_least", 0.5, 0.61, True, 0.55, 0.66)
MISSED = GateFigure("loc macro_f1 (linear)", "not_below_current_by", -0.01, -0.02, False, -0.03, -0.01)
IDLE = GateFigure("drift", "overlap_at_least", 0.5, None, None, why="the alias points to no other space")
SUMMARY = Summary(
    run="r", store="s", model="small", trained=True, device="cpu", actors=2, records=20,
    spaces=(SpaceCount("new", 20, 0, 0, 0),), residues=600, seconds=4.0, embed_seconds=3.0, startup_seconds=1.0,
    first_vector_seconds=2.0, load_seconds=1.0,
    first_forward_seconds=None, token_budget=1, attention="sdpa", layers="eager", recipes=("r",),
    reasons=(), current="old", current_before="old",
)  # fmt: skip
NEW = "new"


class GateOf:
    """A gate with a fixed result that remembers what it was asked, and may do something while it judges."""

    def __init__(self, *figures: GateFigure, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.result, self.asked, self.meanwhile = GateResult("gate.yaml", figures), list[Candidate](), meanwhile

    def __call__(self, candidate: Candidate, report: Any) -> GateResult:
        self.asked.append(candidate)
        self.meanwhile()
        return self.result


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """A store with a space, which `current` names, and a new one."""
    found = build.store(tmp_path / "s")
    ensure_space(found, build.info(NEW), build.schema())
    aliases.move(found, "current", build.info().name, run="r", writer=build.writer())
    return found


@pytest.fixture
def reembedded(location: Location, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Reembedded]:
    """A re-embedding whose space is filled and verified already; `came` proteins come in while it is judged."""

    def run(
        gate: GateOf | None, *, alias: str = "current", came: int = 0, bits: str | None = None, **filled: Any
    ) -> Reembedded:
        def fill(*_: Any) -> Any:
            before, current = (aliases.list_aliases(location).get(name) for name in (alias, "current"))
            return module._Filled(NEW, SUMMARY, Tally.of([NEW]), before, current, **filled)

        monkeypatch.setattr(module, "_fill", fill)
        monkeypatch.setattr(module, "with_record", lambda facts, *_: facts)
        monkeypatch.setattr(module, "find_work", lambda *_, **__: SimpleNamespace(proteins=came))
        recipes = (SimpleNamespace(alphabet="aa", quantization=bits),)
        known = {"stages": Stages(), "recorder": Recorder(run="r2", family="esm2"), "options": RunOptions()}
        setting: Any = SimpleNamespace(location=location, run="r2", recipes=recipes, **known)
        return carry_out(Reembedding(setting, alias, None), LineReporter(loudness="quiet"), gate=gate)

    return run


def points_to(location: Location, alias: str = "current") -> str | None:
    found = aliases.list_aliases(location).get(alias)
    return found.space if found else None


def test_a_gate_that_is_passed_moves_the_alias_and_is_recorded(
    location: Location, reembedded: Callable[..., Reembedded]
) -> None:
    gate = GateOf(MET, IDLE)

    done = reembedded(gate)

    assert (done.moved, done.before, done.after, done.stays) == (True, "esm2-00000001", NEW, None)
    assert points_to(location) == NEW
    (asked,) = gate.asked
    assert (asked.space, asked.alias, asked.before) == (NEW, "current", "esm2-00000001")
    recorded = last_run(location)
    assert recorded is not None
    assert (recorded["kind"], recorded["summary"]["gate"]["passed"]) == ("reembed", True)
    assert recorded["summary"]["gate"]["figures"][0]["found"] == 0.61


def test_a_gate_that_is_not_passed_leaves_the_alias_keeps_the_space_and_is_recorded(
    location: Location, reembedded: Callable[..., Reembedded]
) -> None:
    done = reembedded(GateOf(MET, MISSED, IDLE))

    assert (done.moved, done.before, done.after) == (False, "esm2-00000001", "esm2-00000001")
    assert done.stays == (
        "the gate gate.yaml is not passed: 1 of 3 condition(s) failed (loc macro_f1 (linear) not_below_current_by)"
    )
    assert points_to(location) == "esm2-00000001"
    assert aliases.resolve(location, NEW) == (NEW, None)
    recorded = last_run(location)
    assert recorded is not None
    assert recorded["summary"]["stays"] == done.stays
    assert [f["met"] for f in recorded["summary"]["gate"]["figures"]] == [True, False, None]
    assert json.loads(json.dumps(done.to_json()))["gate"]["passed"] is False

    relaxed = reembedded(GateOf(MET, replace(MISSED, wanted=-0.05, met=True)))
    assert (relaxed.moved, points_to(location)) == (True, NEW)


def test_fewer_bits_without_a_gate_are_said_with_the_command_that_measures_them(
    location: Location, reembedded: Callable[..., Reembedded], capsys: pytest.CaptureFixture[str]
) -> None:
    assert reembedded(None, bits="int4").moved
    said = capsys.readouterr().err
    assert "current now names int4 vectors, and what they cost was not measured: " in said
    assert f"`protea-ray drift s esm2-00000001 {NEW} --gate quantised`" in said

    aliases.move(location, "current", build.info().name, run="r", writer=build.writer())
    assert reembedded(None).moved
    aliases.move(location, "current", build.info().name, run="r", writer=build.writer())
    assert reembedded(GateOf(MET), bits="int4").moved
    assert reembedded(None, bits="int4", idle=True).moved is False
    assert "not measured" not in capsys.readouterr().err


def test_the_lease_is_free_while_the_gate_judges(location: Location, reembedded: Callable[..., Reembedded]) -> None:
    """An evaluation may embed an untrained control into the same store."""
    taken: list[bool] = []

    def take() -> None:
        with Lease.acquire(location):
            taken.append(True)

    assert reembedded(GateOf(MET, meanwhile=take)).moved
    assert taken == [True]


def test_an_alias_that_was_moved_meanwhile_is_left_alone(
    location: Location, reembedded: Callable[..., Reembedded]
) -> None:
    ensure_space(location, build.info("third"), build.schema())

    def by_hand() -> None:
        aliases.move(location, "current", "third", run="by hand", writer=build.writer())

    with pytest.raises(CommitError, match=r"current was moved to third; so current is left alone. Run the same"):
        reembedded(GateOf(MET, meanwhile=by_hand))
    assert points_to(location) == "third"


def test_proteins_that_came_in_meanwhile_are_embedded_before_the_alias_moves(
    location: Location, reembedded: Callable[..., Reembedded]
) -> None:
    with pytest.raises(CommitError, match=r"1,200 proteins came into the store that new lacks"):
        reembedded(GateOf(MET), came=1200)
    assert points_to(location) == "esm2-00000001"
    assert not reembedded(GateOf(MISSED), came=1200).moved  # nothing moves, so nothing is in the way


@pytest.mark.parametrize("filled", [{"stays": "too many rejects"}, {"idle": True}])
def test_nothing_is_judged_when_the_alias_does_not_move_anyway(
    location: Location, reembedded: Callable[..., Reembedded], filled: dict[str, Any]
) -> None:
    gate = GateOf(MISSED)
    if filled.get("idle"):
        aliases.move(location, "current", NEW, run="r", writer=build.writer())

    done = reembedded(gate, **filled)

    assert gate.asked == []
    assert (done.gate, done.moved) == (None, False)


def test_an_alias_that_is_new_has_nothing_to_be_compared_with(
    location: Location, reembedded: Callable[..., Reembedded]
) -> None:
    gate = GateOf(MET, IDLE)

    done = reembedded(gate, alias="candidate")

    assert gate.asked[0].before is None
    assert (done.moved, points_to(location, "candidate")) == (True, NEW)


def test_a_version_of_the_same_space_is_nothing_to_be_compared_with(
    location: Location, reembedded: Callable[..., Reembedded]
) -> None:
    aliases.move(location, "current", NEW, version=1, run="r", writer=build.writer())
    gate = GateOf(MET)

    assert reembedded(gate).moved
    assert gate.asked[0].before is None


def test_a_first_space_that_fails_is_current_all_the_same_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: Any = module._Filled(NEW, SUMMARY, Tally.of([NEW]), None, None)
    planned: Any = SimpleNamespace(alias="current")

    said = module._why_it_stays(planned, filled, GateResult("g.yaml", (MISSED,)))

    assert said.endswith("; as the store's first space it is what readers of current get all the same")


def test_the_figures_are_shown_with_what_was_wanted() -> None:
    shown = GateResult("gate.yaml", (MET, MISSED, IDLE))

    assert shown.rows() == [
        ["loc macro_f1 (linear)", "at_least", "0.5000", "0.6100", "0.5500 to 0.6600", "passed"],
        ["loc macro_f1 (linear)", "not_below_current_by", "-0.0100", "-0.0200", "-0.0300 to -0.0100", "FAILED"],
        ["drift", "overlap_at_least", "0.5000", "-", "-", "not applicable: the alias points to no other space"],
    ]
    assert repr(shown).endswith(shown.sentence())
    assert "<td>FAILED</td>" in shown._repr_html_()
