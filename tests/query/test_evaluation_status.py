"""What status says of evaluations: how many, how old, and by task the best space."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from protea_ray.evaluate.task import HEADLINE
from protea_ray.query.evaluation_status import read_evaluation_status
from protea_ray.query.reader import open_store
from protea_ray.store.evaluations import EVALUATIONS
from protea_ray.store.location import Location
from tests import commands
from tests.evaluate.tables import made
from tests.store import build

SECOND = made.second_layer()
LOCALIZATION = made.rows(
    "localization",
    "classification",
    {
        made.SMALL: {"macro_f1": 0.467, "accuracy": 0.9},
        SECOND: {"macro_f1": 0.476, "accuracy": 0.6},
        made.RANDOM: {"macro_f1": 0.99, "accuracy": 0.99},
    },
    shift=lambda probe, subset, seed: 0.001 * (seed - 2) + {"linear": 0.0, "mlp": -0.01}[probe] - (subset != "all") * 3,
)
TERMS = made.rows("go-mf", "multilabel", {made.SMALL: {"fmax": 0.589, "smin": 9.0}, SECOND: {"fmax": None}})


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return build.store(tmp_path / "s", range(3))


def write(location: Location, *rows: pa.Table) -> None:
    for table in rows:
        lance.write_dataset(table, location.table("evaluations"), mode="append")


def test_a_store_without_results_says_nothing(location: Location) -> None:
    assert read_evaluation_status(location) is None
    write(location, EVALUATIONS.empty_table())
    assert open_store(location.uri).status().evaluations is None
    assert "evaluations:" not in commands.call("status", location.uri).stdout
    assert commands.call_json("status", location.uri)["evaluations"] is None


def test_the_best_is_a_subject_by_the_mean_of_the_headline_metric_over_all_tested_proteins(location: Location) -> None:
    write(location, LOCALIZATION, TERMS)
    status = open_store(location.uri).status()
    assert status.evaluations is not None
    assert (status.evaluations.cells, status.evaluations.latest) == (25, datetime(2026, 11, 27, 1, 4, tzinfo=UTC))
    assert status.evaluation_rows() == [
        ("go-mf", "fmax", made.SMALL.name, "linear", "0.589", "5", "1"),
        ("localization", "macro_f1", SECOND.name, "linear", "0.476", "5", "2"),
    ]
    assert "<caption>evaluations</caption>" in status._repr_html_()
    assert "0.476" in repr(status)


def test_only_the_newest_labels_and_protocol_of_a_task_count(location: Location) -> None:
    """The older ones have a higher value, of other proteins."""
    later = [row["finished"] + timedelta(hours=1) for row in LOCALIZATION.to_pylist()]
    newer = LOCALIZATION.set_column(
        2, EVALUATIONS.field("finished"), pa.array(later, EVALUATIONS.field("finished").type)
    )
    older = made.rows("localization", "classification", {made.SMALL: {"macro_f1": 0.9}}, task_digest="0" * 16)
    protocol = made.rows("localization", "classification", {made.SMALL: {"macro_f1": 0.8}}, protocol="ffffffff")
    write(location, newer, older, protocol)
    (best,) = (read_evaluation_status(location) or pytest.fail("nothing was read")).best
    assert (best.input, best.inputs, round(best.value, 3)) == (SECOND.name, 2, 0.476)


def test_controls_alone_are_counted_and_no_space_is_best(location: Location) -> None:
    write(location, made.rows("t", "classification", {made.RANDOM: {"macro_f1": 0.1}}))
    said = commands.call("status", location.uri).stdout
    assert "evaluations: 5 results of an input, a task and a seed, the last on 2026-11-27 01:04 UTC" in said
    assert "of inputs" not in said


def test_the_command_line_shows_it_and_json_has_it_in_full(location: Location) -> None:
    write(location, LOCALIZATION)
    said = commands.call("status", location.uri).stdout
    (line,) = (line for line in said.splitlines() if line.startswith("localization"))
    assert line.split() == ["localization", "macro_f1", SECOND.name, "linear", "0.476", "5", "2"]
    (best,) = commands.call_json("status", location.uri)["evaluations"]["best"]
    assert best["value"] == pytest.approx(0.476)
    assert (best["input"], best["seeds"]) == (SECOND.name, 5)
    json.dumps(open_store(location.uri).status().to_json())


def test_every_kind_of_task_has_a_headline() -> None:
    assert set(HEADLINE) == {"classification", "multilabel", "regression", "residue"}
