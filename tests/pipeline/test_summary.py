"""The figures of a summary: numbers that do not add up are an error, and each one is of the run that prints it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.cache import cache_directory
from protea_ray.config.run import run_config
from protea_ray.errors import AccountingError
from protea_ray.pipeline.accounting import account
from protea_ray.pipeline.dry_run import dry_run
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.loop import Tally
from protea_ray.pipeline.reasons import RejectReason
from protea_ray.plan.delta import Counts
from tests.toy import ToySpec

PLANNED = [Counts(records=10, already_present=3, duplicate=2, rejected=1, wanted=4)]


def test_every_record_has_one_place() -> None:
    (count,) = account(12, 2, ["space"], PLANNED, {"space": 3}, {"space": 1})

    assert (count.stored, count.duplicate, count.rejected, count.already_present) == (3, 2, 4, 3)


@pytest.mark.parametrize("stored", [2, 4])
def test_a_lost_or_doubled_row_is_an_error(stored: int) -> None:
    with pytest.raises(AccountingError, match=r"12 in, but .* = 1[13]"):
        account(12, 2, ["space"], PLANNED, {"space": stored}, {"space": 1})


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two proteins of 30 and 200 residues, a copy, and two records that are no proteins."""
    path = tmp_path / "mixed.fasta"
    path.write_text(f">short\n{'MKTAYI' * 5}\n>long\n{'MK' * 100}\n>copy\n{'MKTAYI' * 5}\n>gap\nMK-A\n>none\n\n")
    return path


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("on_long", "residues", "rejected"), [("reject", 30, 3), ("truncate", 30 + 64, 2), ("window", 30 + 200, 2)]
)
def test_residues_and_rejects_of_the_run_that_prints_them(
    mixed: Path, esm2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    on_long: str, residues: int, rejected: int,
) -> None:  # fmt: skip
    """Residues of a rejected protein and past a cut went through no model; progress and table agree."""
    fields = {"model": str(esm2), "max_residues": 64, "window_overlap": 8, "on_long": on_long}

    summary = embed([str(mixed)], str(tmp_path / "s"), run_config(fields), LineReporter(), ToySpec)

    assert (summary.residues, summary.spaces[0].rejected) == (residues, rejected)
    reasons = [RejectReason("empty_sequence", 1, f"{mixed}:9"), RejectReason("illegal_letter", 1, f"{mixed}:7")]
    too_long = [RejectReason("too_long", 1, f"{mixed}:3")] if on_long == "reject" else []
    assert list(summary.reasons) == [*reasons, *too_long]
    space = summary.spaces[0].space
    assert (summary.current, summary.current_before, summary.current_trained) == (space, None, summary.trained)
    again = embed([str(mixed)], str(tmp_path / "s"), run_config(fields), LineReporter(), ToySpec)
    assert (again.current, again.current_before) == (space, space)
    assert again.reasons == summary.reasons  # those of earlier runs are rejected records of this one
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("100 %")]
    assert f"  {rejected} rejected  " in lines[-1]


@pytest.mark.usefixtures("cluster")
def test_a_second_run_does_not_print_the_first_ones_start_up(mixed: Path, esm2: Path, tmp_path: Path) -> None:
    """The calibration is remembered, so no first pass was timed; the load is what this run's actors took."""
    fields: dict[str, Any] = {"model": str(esm2), "window_overlap": 3}  # a recipe of its own: not remembered yet

    foretold = dry_run([str(mixed)], str(tmp_path / "a"), run_config(fields), LineReporter(), ToySpec)
    for remembered in (cache_directory() / "calibrations").glob("*.json"):
        figures = json.loads(remembered.read_text())
        remembered.write_text(json.dumps({**figures, "load_seconds": 1234.5, "first_forward_seconds": 1234.5}))
    summary = embed([str(mixed)], str(tmp_path / "s"), run_config(fields), LineReporter(), ToySpec).to_json()

    assert summary["first_forward_seconds"] is None
    assert summary["load_seconds"] < 1234.5
    assert foretold.startup_seconds > 0
    assert not (tmp_path / "a").exists()


def test_the_longest_load_of_the_actors_is_the_runs_load() -> None:
    tally = Tally.of(["space"])
    unit = {"residues": 5, "proteins": 1, "began": 1.0, "budget": 9, "spaces": {}, "rejects": [], "seconds": 1.0,
            "packs": 1, "tokens": 7, "peak_memory": 3, "peak_gpu_memory": 0}  # fmt: skip

    for seconds in (2.0, 3.5, 1.0):
        tally.add({**unit, "load_seconds": seconds})

    assert (tally.load_seconds, tally.residues) == (3.5, 15)
