"""A run that is stopped leaves a row in `runs` that says what it had committed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.errors import LeaseLostError
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.interrupted import committed, interruption_recorded
from protea_ray.pipeline.loop import Tally
from protea_ray.query.run_facts import run_facts
from protea_ray.store.location import open_location
from protea_ray.store.runs import last_run
from tests import stores
from tests.store import build
from tests.toy import ToySpec


class StopAtFirstUnit(LineReporter):
    """Presses Ctrl-C when the first unit is back."""

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        super().advance(proteins, residues, seconds, took, rejects)
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("cluster")
def test_a_stopped_run_says_what_it_committed_and_the_next_one_the_rest(esm2: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "p.fasta"
    fasta.write_text("".join(f">p{n}\nMKTAYI{'ACDEFGHIKL'[n // 10]}{'ACDEFGHIKL'[n % 10]}\n" for n in range(100)))
    store = str(tmp_path / "s")
    config = run_config({"model": str(esm2), "run": {"unit_seconds": 1e-9}})

    with pytest.raises(KeyboardInterrupt):
        embed([str(fasta)], store, config, StopAtFirstUnit(), ToySpec)
    stopped = last_run(open_location(store))
    whole = embed([str(fasta)], store, config, LineReporter(), ToySpec)

    assert stopped is not None
    told = run_facts(stopped)
    assert stopped["kind"] == "interrupted"
    facts = stopped["summary"]
    assert (facts["wanted"], facts["rejected"], facts["model"]) == (100, 0, str(esm2))
    assert 0 < facts["stored"] < 100
    assert facts["spaces"] == [{"space": whole.spaces[0].space, "stored": facts["stored"], "rejected": 0}]
    assert (whole.spaces[0].already_present, whole.spaces[0].stored) == (facts["stored"], 100 - facts["stored"])
    assert len(stores.vectors(Path(store))) == 100
    assert [stage.name for stage in told.stages][-2:] == ["actors", "embedding"]
    assert told.packing is not None and told.packing.residues == told.residues == facts["stored"] * 8
    assert (told.flows, told.device, told.config["inputs"]) == ((), "cpu", [str(fasta)])


def test_who_lost_the_lease_leaves_no_row_and_still_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = build.store(tmp_path / "s", range(2))
    monkeypatch.setattr("protea_ray.pipeline.interrupted.record_run", lost)
    with pytest.raises(KeyboardInterrupt), interruption_recorded(location, "r", build.writer(), dict):
        raise KeyboardInterrupt


def lost(*_: Any, **__: Any) -> None:
    raise LeaseLostError("another driver has it")


def test_only_a_stop_is_recorded(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(2))
    with pytest.raises(ValueError, match="a bug"), interruption_recorded(location, "r", build.writer(), dict):
        raise ValueError("a bug")
    assert last_run(location) is None


def test_what_was_committed_is_counted_by_space() -> None:
    tally = Tally({"a": 3, "b": 2}, {"a": 0, "b": 1}, residues=40)
    facts = committed(tally, 9, "small", started=0.0)
    assert {name: facts[name] for name in ("space", "stored", "rejected", "wanted", "residues")} == {
        "space": "a", "stored": 3, "rejected": 0, "wanted": 9, "residues": 40
    }  # fmt: skip
    assert facts["spaces"][1] == {"space": "b", "stored": 2, "rejected": 1}
