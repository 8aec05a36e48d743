"""The masked loss in a gate: judged by the upper end of its interval, not applicable without a head, else a reason."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.gate_file import MaskedLossConditions
from protea_ray.config.quantised_gate import quantised_gate
from protea_ray.config.run import RunOptions
from protea_ray.errors import ConfigError, EncoderError
from protea_ray.evaluate import gate_spaces
from protea_ray.pipeline.gate_figures import Candidate, GateFigure
from protea_ray.query.masked_drift import MaskedDrift
from protea_ray.store.location import Location
from protea_ray.store.spaces import ensure_space
from tests.store import build

FOUND = MaskedDrift(500, 20_000, 0, 2.40, 2.41, 0.01, 0.004)  # 0.01 and, with 1.96 standard errors, 0.0178


@pytest.fixture
def location(tmp_path: Path) -> Location:
    found = build.store(tmp_path / "s")
    for name in ("old", "new"):
        ensure_space(found, build.info(name), build.schema())
    return found


def figure(location: Location, most: float = 0.02, before: str | None = "old") -> GateFigure:
    wanted = MaskedLossConditions(not_above_current_by=most, proteins=7, seed=3)
    candidate = Candidate(location, "new", "old", before, RunOptions(device="cpu"))
    return gate_spaces.loss_figure(wanted, candidate, LineReporter(loudness="quiet"))


def with_models(monkeypatch: pytest.MonkeyPatch, why: str = "", result: object = FOUND) -> list[tuple[object, ...]]:
    """Spaces whose models are here, and what comparing them gives; returns what was asked."""
    asked: list[tuple[object, ...]] = []

    def compare(a, b, *, proteins, seed, device, tell):
        asked.append((a.name, b.name, proteins, seed, device))
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(gate_spaces, "space_model", lambda view: SimpleNamespace(name=view.pin.space, why_no_loss=why))
    monkeypatch.setattr(gate_spaces, "masked_drift", compare)
    return asked


@pytest.mark.parametrize(("most", "met"), [(0.02, True), (0.018, True), (0.0175, False), (0.01, False), (0.0, False)])
def test_a_rise_is_judged_by_the_upper_end_of_its_interval(
    location: Location, monkeypatch: pytest.MonkeyPatch, most: float, met: bool
) -> None:
    asked = with_models(monkeypatch)
    found = figure(location, most)
    assert (found.found, found.wanted, found.met) == (0.01, most, met)
    assert found.high == pytest.approx(0.01 + 1.959964 * 0.004)
    assert "2.4100 nats a residue against 2.4000, 20,000 residues of 500 proteins" in found.verdict
    assert asked == [("old", "new", 7, 3, "cpu")]


def test_without_a_head_or_a_space_before_it_does_not_apply(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_models(monkeypatch, why="the model of x has no language-model head")
    found = figure(location)
    assert found.met is None
    assert "not applicable: the model of x has no language-model head; the model of x" in found.verdict
    assert figure(location, before=None).verdict == "not applicable: the alias points to no other space"


def test_a_model_that_is_gone_or_cannot_run_fails(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = figure(location)
    assert (gone.met, gone.found) == (False, None)
    assert "the checkpoint of space old cannot be opened" in gone.verdict
    with_models(monkeypatch, result=EncoderError("memory does not hold it"))
    assert figure(location).verdict == "FAILED: memory does not hold it"


@pytest.mark.parametrize(
    ("quantization", "most"),
    [("int8", 0.02), ("hqq:8", 0.02), ("int4", 0.05), ("hqq:4", 0.05), ("hqq:3", 0.05), ("hqq:2", 0.05)],
)
def test_the_limits_follow_from_the_bits(quantization: str, most: float) -> None:
    gate = quantised_gate("s", {"quantization": quantization}, ["go-mf"], "labels")
    assert gate.masked_loss is not None
    assert (gate.masked_loss.not_above_current_by, gate.masked_loss.proteins, gate.data) == (most, 500, "labels")
    (probe,) = gate.tasks
    assert (probe.task, probe.not_below_current_by, probe.or_standard_errors) == ("go-mf", 0.01, 1.0)


def test_a_space_of_full_precision_has_no_such_gate() -> None:
    with pytest.raises(ConfigError, match="s is of full precision"):
        quantised_gate("s", {"quantization": None}, [], None)
