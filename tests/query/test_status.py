"""Status tells spaces apart, says how complete they are, who writes or was interrupted, and what ran."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from protea_ray.cli import show_status
from protea_ray.query.reader import open_store
from protea_ray.store import aliases
from protea_ray.store.lease import _RECORD, Lease, this_process
from protea_ray.store.location import Location
from protea_ray.store.runs import record_run
from protea_ray.store.spaces import ensure_space
from protea_ray.store.tables import open_table
from tests import commands
from tests.store import build, rich

SPACE = "esm2-00000001"
REJECTING = {
    "config": {"layers": [0], "pooling": ["mean"], "on_long": "reject"},
    "files": {"model.safetensors": "ab" * 32},
}


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """Two spaces of one model that differ in `on_long`; 10 of 18 proteins in the first one, none in the second."""
    found = build.store(tmp_path / "s", range(10))
    build.ingest(found, build.proteins(range(10, 18), "b"), "b", "d2")
    ensure_space(found, build.info("rejecting", identity=REJECTING), build.schema())
    return found


def test_spaces_of_one_model_are_told_apart_and_gaps_are_counted(location: Location) -> None:
    aliases.move(location, "train-v1", SPACE, version=2, run="r", writer=build.writer())
    aliases.move(location, "current", SPACE, run="r", writer=build.writer())
    status = open_store(location.uri).status()
    found = {space.name: space for space in status.spaces}
    assert {n: (s.keys, s.wanted, s.missing) for n, s in found.items()} == {
        SPACE: (10, 18, 8),
        "rejecting": (0, 18, 18),
    }
    assert (found[SPACE].differs_in, found["rejecting"].differs_in) == ({}, {"on_long": "reject"})
    rows = {row[0]: row for row in status.space_rows()}
    assert rows[SPACE][2] == "10 of 18"
    assert rows["rejecting"][4] == "on_long=reject"
    assert rows[SPACE][-1] == "current, train-v1@2" or rows[SPACE][-1] == "train-v1@2, current"
    said = commands.call("status", location.uri).stdout
    assert "differs in" in said
    assert f"{SPACE}: 8 of 18 proteins have no vector yet" in said
    assert f"`protea-ray verify {location.uri}` says what is missing" in said
    assert json.loads(json.dumps(status.to_json()))["spaces"][0]["missing"] == 8


def test_what_was_rejected_is_not_missing_and_rejects_have_a_command(tmp_path: Path) -> None:
    status = open_store(rich.store(tmp_path / "s").uri).status()
    assert {space.missing for space in status.spaces} == {0}
    assert {space.wanted for space in status.spaces} == {20}
    assert any(f"`protea-ray rejects {status.uri}`" in line for line in status.facts())


def test_a_writer_and_an_interrupted_one_are_named(location: Location) -> None:
    with Lease.acquire(location):
        status = open_store(location.uri).status()
        assert (status.writer is not None, status.interrupted) == (True, None)
        assert not any("protea-ray verify" in line for line in status.facts())
    assert open_store(location.uri).status().interrupted is None
    Lease.acquire(location).release(in_order=False)
    left = open_store(location.uri).status()
    assert left.writer is None
    assert any(line.startswith("interrupted: process ") for line in left.facts())
    killed = replace(this_process(time.time(), 60.0), pid=2**22 + 1, started="1")  # above the largest pid
    open_table(location.table("lease")).update_config({_RECORD: killed.to_json()})
    assert "process 4194305" in (open_store(location.uri).status().interrupted or "")


def test_the_history_of_runs(location: Location) -> None:
    summary = {"space": SPACE, "stored": 3000, "rejected": 2, "residues_per_second": 39215.4, "seconds": 81.6}
    record_run(location, "r1", summary, writer=build.writer())
    record_run(location, "r2", {"stored": 627}, kind="interrupted", writer=build.writer())
    said = commands.call("status", location.uri, "--runs").stdout
    first, second = (line for line in said.splitlines() if "r1" in line or "r2" in line)
    for cell in ("embed", SPACE, "3,000", "39,215", "82", "r1"):
        assert cell in first
    assert "interrupted" in second
    assert "627" in second
    found = commands.call_json("status", location.uri, "--runs")["runs"]
    assert [(run["kind"], run["summary"]["stored"]) for run in found] == [("embed", 3000), ("interrupted", 627)]
    assert "last run: r2 (interrupted), ended 20" in commands.call("status", location.uri).stdout


def test_watching_goes_on_until_it_is_stopped_and_says_the_rate(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two looks five proteins come; what is left takes as long as they say."""
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt
        build.fill(location, SPACE, range(10, 15), "more", build.schema())

    monkeypatch.setattr(show_status, "sleep", sleep)
    done = commands.call("status", location.uri, "--watch", "--every", 3)
    assert (done.returncode, looks) == (0, [3.0, 3.0])
    assert done.stdout.count("every 3 s (Ctrl-C stops)") == 2
    assert f"{SPACE}: 5 proteins in the last" in done.stdout
    assert "15 of 18" in done.stdout
