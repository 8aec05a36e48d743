"""Costs by length: which lengths are measured, what is said of the others, and what a real process answers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from protea_ray.comparison import variant_cost
from protea_ray.comparison.compared_variant import ComparedVariant
from protea_ray.comparison.cost_tables import CostByLength, CostTable
from protea_ray.comparison.variant_cost import cost_exponents, measure_cost
from protea_ray.errors import EvaluationError
from protea_ray.testing.random_checkpoint import build

LENGTHS = (512, 1024, 2048, 4096, 8192)
LOCAL = ComparedVariant("local:64", {"attention": "local:64", "max_residues": 1_000_000})


class Processes:
    """In place of processes: the answer of each is a law, unless another one is set for its length."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.environments: list[dict[str, str]] = []
        self.codes: dict[int, int] = {}
        self.whys: dict[int, str] = {}
        self.late: set[int] = set()

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        question = json.loads(options["input"])
        self.asked.append(question)
        self.environments.append(options["env"])
        length = question["length"]
        if length in self.late:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        answer: dict[str, Any] = {"device": "cpu", "seconds": 1e-5 * length**2, "wall_seconds": 1.0,
                                  "base_bytes": 500_000_000, "peak_bytes": 1000 * length}  # fmt: skip
        if length in self.whys:
            answer = {"device": "cpu", "why": self.whys[length]}
        said = "a library says something\n" + json.dumps(answer) + "\n"
        return subprocess.CompletedProcess(command, self.codes.get(length, 0), said, "Traceback\nKeyError: 'x'\n")


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    made = Processes()
    monkeypatch.setattr(variant_cost.subprocess, "run", made.run)
    return made


def test_each_length_is_a_process_of_one_thread(processes: Processes) -> None:
    said: list[str] = []
    rows = measure_cost("small", LOCAL, LENGTHS[::-1], seed=7, said=said.append)
    assert [row.length for row in rows] == list(LENGTHS)
    assert [asked["length"] for asked in processes.asked] == list(LENGTHS)
    assert processes.asked[0]["fields"] == {"model": "small", "attention": "local:64", "max_residues": 1_000_000}
    assert {asked["seed"] for asked in processes.asked} == {7}
    assert all(given["OMP_NUM_THREADS"] == "1" for given in processes.environments)
    assert all(given.keys() >= os.environ.keys() for given in processes.environments)
    assert said[0] == "measuring local:64 at 512 residues"
    (grows,) = cost_exponents(rows)
    assert (grows.seconds and grows.seconds.value, grows.memory and grows.memory.value) == pytest.approx((2, 1))
    assert rows[0].whole_bytes == 500_512_000


def test_a_variant_may_be_another_checkpoint(processes: Processes) -> None:
    measure_cost("small", ComparedVariant("adapted", {"model": "/there"}), [512])
    assert processes.asked[0]["fields"]["model"] == "/there"


def test_after_a_length_over_the_limit_the_others_are_predicted(processes: Processes) -> None:
    rows = measure_cost("small", LOCAL, LENGTHS, most_seconds=40)  # 2,048 take 41.9 s
    assert [row.seconds is not None for row in rows] == [True, True, True, False, False]
    assert len(processes.asked) == 3
    assert rows[3].why == rows[4].why == "not tried: 2,048 residues took 42 s, the limit is 40 s"
    assert rows[4].predicted_seconds == pytest.approx(1e-5 * 8192**2)
    assert rows[4].predicted_bytes == pytest.approx(8_192_000)
    assert CostTable.make(tuple(rows)).facts()[-1] == (
        "local:64 from 4,096 residues on: not tried: 2,048 residues took 42 s, the limit is 40 s; "
        "expected are 168 s and 4.1 MB at 4,096, 671 s and 8.19 MB at 8,192"
    )


def test_two_points_predict_nothing(processes: Processes) -> None:
    rows = measure_cost("small", LOCAL, LENGTHS, most_seconds=10)
    assert (rows[2].predicted_seconds, rows[2].predicted_bytes) == (None, None)
    assert rows[2].why


def test_what_cannot_be_done_is_a_row_with_the_reason(processes: Processes) -> None:
    processes.whys = {2048: "attention: T5 has none"}
    rows = measure_cost("small", LOCAL, LENGTHS)
    assert rows[2].why == "attention: T5 has none"
    assert rows[3].why == "not tried, since 2,048 residues could not be measured"
    assert len(processes.asked) == 3


def test_a_process_that_is_killed_for_memory_or_late_is_a_row_too(processes: Processes) -> None:
    processes.codes = {1024: -9}
    assert "memory runs out" in str(measure_cost("small", LOCAL, LENGTHS)[1].why)
    processes.codes, processes.late = {}, {512}
    assert measure_cost("small", LOCAL, LENGTHS, most_seconds=1)[0].why == "it was ended after 70 s"


def test_a_process_that_fails_is_an_error_that_says_how(processes: Processes) -> None:
    processes.codes = {512: 1}
    with pytest.raises(EvaluationError, match=r"512 residues under model small, attention local:64.*KeyError: 'x'"):
        measure_cost("small", LOCAL, LENGTHS)


def test_tables_have_a_row_for_each_variant_and_for_each_length(processes: Processes) -> None:
    processes.whys = {8192: "no"}
    rows = (*measure_cost("small", ComparedVariant("windows", {}), LENGTHS[:4]), *measure_cost("small", LOCAL, LENGTHS))
    short, long = CostTable.make(rows), CostByLength(rows)
    assert [line[0] for line in short.rows()] == ["windows", "local:64"]
    assert short.rows()[1] == ["local:64", "2.00 ± 0.00", "1.00 ± 0.00", "4,096", "168", "4.1", "1", "1"]
    assert len(long.rows()) == 9
    assert long.rows()[-1] == ["local:64", "8,192", "-", "-", "-", "-", "-"]
    assert short.facts()[-1] == "local:64 from 8,192 residues on: no"
    assert all(len(line) == len(table.columns()) for table in (short, long) for line in table.rows())


@pytest.mark.slow
def test_memory_of_real_processes_grows_with_the_length(tmp_path: Path, record_property: Any) -> None:
    """Exact and local attention, one layer of 8M's shape: both linear, far from a written-out square.

    With 64 columns a token takes 2.5 kB, and the 2 to 6 MB that a pass takes at any length hide the slope.
    """
    directory = build("esm2", tmp_path, layers=1, hidden=320, heads=20)
    for variant in (ComparedVariant("exact", {"attention": "exact", "max_residues": 1_000_000}), LOCAL):
        rows = measure_cost(str(directory), variant, (2048, 4096, 8192, 16_384))
        assert not [row.why for row in rows if row.why]
        (grows,) = cost_exponents(rows)
        print(f"{variant.name}: time {grows.seconds}, memory {grows.memory}, {rows[-1].peak_bytes} bytes")
        record_property(variant.name, str(grows.memory))
        assert grows.memory is not None
        assert abs(grows.memory.value - 1) < 0.1
        assert (rows[-1].seconds or 0) > (rows[0].seconds or 0) > 0
