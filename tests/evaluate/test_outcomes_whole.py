"""Outcomes of a whole evaluation in Ray: they add up to the stored figures, come again, and colour a report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import protea_ray
from protea_ray.cluster.progress import LineReporter
from protea_ray.evaluate.evaluation import Evaluation, evaluate
from protea_ray.evaluate.protocol import Protocol
from protea_ray.query.training.labels import read_labels
from protea_ray.store.location import EVALUATIONS_TABLE, Location
from protea_ray.store.tables import open_table
from tests.evaluate.chains import states
from tests.reporting.test_page import Elements
from tests.store import build

PROTEINS = 60
SPACE = "esm2-00000001"
QUICK = Protocol(epochs=8, hidden=8, resamples=3, residue_learning_rate=0.02)
TASKS = {"kinds": "classification", "sums": "regression", "chains": "residue"}


def is_tested(number: int) -> bool:
    return number % 3 == 0


def total(number: int) -> float:
    return float(build.vector(number).sum())


def letters(number: int) -> str:
    return "".join("HEC"[state] if state >= 0 else "C" for state in states(number).tolist())


@dataclass
class Evaluated:
    """A store, files of labels, and what was returned by each call."""

    folder: Path
    location: Location
    runs: list[Evaluation] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def run(self, seeds: int, outcomes: str | None) -> None:
        found = evaluate(
            self.location.uri, ["current"], [f"{self.folder / name}.csv:{kind}" for name, kind in TASKS.items()],
            LineReporter(loudness="quiet"), controls=("composition",), seeds=seeds, protocol=QUICK,
            outcomes=None if outcomes is None else self.folder / outcomes,
        )  # fmt: skip
        self.runs.append(found)
        self.versions.append(int(open_table(self.location.table(EVALUATIONS_TABLE)).version))

    def columns(self, file: str) -> pa.Table:
        labels = read_labels(self.folder / file, keep_blank=True)
        return labels.columns.add_column(0, "id", labels.ids)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, cluster: None) -> Evaluated:
    """Labels of three kinds; one seed without outcomes, then two seeds with, then the same again."""
    folder = tmp_path_factory.mktemp("outcomes")
    location = build.store(folder / "store", range(PROTEINS), per_unit=60, with_residues=True)
    targets = {"kinds": lambda n: "ab"[total(n) > 0], "sums": total, "chains": letters}
    for name, target in targets.items():
        rows = [f"P{n:05d},{target(n)},{'test' if is_tested(n) else 'train'}" for n in range(PROTEINS)]
        (folder / f"{name}.csv").write_text("\n".join(["id,target,split", *rows]) + "\n")
    made = Evaluated(folder, location)
    made.run(1, None)
    made.run(2, "first.tsv")
    made.run(2, "second.tsv")
    return made


def accuracies(found: Evaluation, task: str, given: str) -> list[float]:
    """The stored accuracy of the linear probe over all tested proteins, by seed."""
    wanted = {"task": task, "input": given, "probe": "linear", "metric": "accuracy", "subset": "all"}
    rows = found.results
    for column, value in wanted.items():
        rows = rows.filter(pc.equal(rows[column], value))
    return rows["value"].to_pylist()


@pytest.mark.parametrize("given", [SPACE, "composition"])
def test_the_mean_outcome_of_classes_is_the_accuracy_of_the_same_cells(done: Evaluated, given: str) -> None:
    stored = accuracies(done.runs[1], "kinds", given)
    assert len(stored) == 2
    values = done.columns("first.tsv")[f"kinds {given}"].to_pylist()
    assert np.mean(values) == pytest.approx(np.mean(stored))
    assert 0.3 < np.mean(values) <= 1


def test_the_outcomes_of_chains_weighed_by_residues_are_the_accuracy_of_the_same_cells(done: Evaluated) -> None:
    table = done.columns("first.tsv")
    lengths = [len(letters(int(id[1:]))) for id in table["id"].to_pylist()]
    values = table[f"chains {SPACE}"].to_pylist()
    assert np.average(values, weights=lengths) == pytest.approx(np.mean(accuracies(done.runs[1], "chains", SPACE)))


def test_it_has_every_tested_protein_and_a_column_for_each_task_and_input(done: Evaluated) -> None:
    table = done.columns("first.tsv")
    assert table["id"].to_pylist() == [f"P{n:05d}" for n in range(PROTEINS) if is_tested(n)]
    assert table.column_names[1:] == [f"{task} {given}" for task in TASKS for given in (SPACE, "composition")]
    assert sum(table[name].null_count for name in table.column_names) == 0
    assert min(pc.min(table[name]).as_py() for name in table.column_names[1:]) >= 0


def test_with_everything_in_the_store_the_file_is_the_same_and_the_table_stays(done: Evaluated) -> None:
    assert [(run.computed, run.found) for run in done.runs] == [(6, 0), (6, 6), (0, 12)]
    assert (done.folder / "first.tsv").read_bytes() == (done.folder / "second.tsv").read_bytes()
    assert done.versions[2] == done.versions[1] > done.versions[0]
    assert done.runs[2].results.equals(done.runs[1].results)


def test_it_says_how_many_cells_were_trained_again(done: Evaluated) -> None:
    assert done.runs[0].written == ()
    for run, name, again in zip(done.runs[1:], ("first.tsv", "second.tsv"), (6, 12), strict=True):
        assert run.written == (done.folder / name,)
        assert run.notes[-1] == (f"{done.folder / name}: the outcomes of 20 tested proteins in 6 columns; {again} "
                                 "cells of the store were trained again for them")  # fmt: skip


def test_a_report_is_coloured_by_it(done: Evaluated) -> None:
    pytest.importorskip("bokeh")
    column = f"sums {SPACE}"
    page = done.folder / "report.html"
    protea_ray.write_report(done.location.uri, page, labels=done.folder / "first.tsv", colour=column)
    packed = Elements(page.read_text()).packed
    about, ids = json.loads(packed["map"][1]), json.loads(packed["map-ids"][1])
    first = about["first"]
    assert about["columns"][first]["name"] == column
    assert about["columns"][first]["unknown"] == PROTEINS - 20, "proteins that are not tested have no outcome"
    shown = dict(zip(ids, np.frombuffer(packed[f"map-column-{first}"][1], "<f4").tolist(), strict=True))
    table = done.columns("first.tsv")
    expected = dict(zip(table["id"].to_pylist(), table[column].to_pylist(), strict=True))
    assert {id: value for id, value in shown.items() if not np.isnan(value)} == pytest.approx(expected)
