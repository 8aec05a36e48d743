"""What becomes of each tested protein, against sums in plain numpy; and the file that says it by id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.errors import StoreError
from protea_ray.evaluate import outcomes_file
from protea_ray.evaluate.cell_work import LINEAR_PROBE, WantedResults, protein_cells
from protea_ray.evaluate.cells import Group
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.metrics import measure
from protea_ray.evaluate.outcomes import outcomes_of
from protea_ray.evaluate.outcomes_file import Outcomes, column_names, outcomes_problems, write_outcomes
from protea_ray.evaluate.probe_training import LINEAR
from protea_ray.evaluate.protocol import Protocol
from protea_ray.evaluate.task import CLASSIFICATION, REGRESSION, Task
from protea_ray.query.training.labels import read_labels
from protea_ray.query.view import View
from protea_ray.store.location import Location
from tests.evaluate.made_tasks import classes, learnable, numbers, residues, terms
from tests.evaluate.numbered_tasks import halves, made_task
from tests.store import build

PROTOCOL = Protocol()


def f_at(threshold: float, truth: np.ndarray, scores: np.ndarray) -> tuple[float, list[float]]:
    """F over the proteins that have a true term, and the F1 of each protein alone (nan without a true term)."""
    precisions, recalls, own = list[float](), list[float](), list[float]()
    for true, score in zip(truth, scores, strict=True):
        said = score >= threshold
        hits = int((true & said).sum())
        own.append(2 * hits / (true.sum() + said.sum()) if true.any() else np.nan)
        if true.any():
            recalls.append(hits / true.sum())
            precisions += [hits / said.sum()] if said.any() else []
    if not precisions:
        return 0.0, own
    p, r = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return (2 * p * r / (p + r) if p + r else 0.0), own


def test_a_class_is_right_or_wrong() -> None:
    task, scores = classes()
    expected = [float(max(range(4), key=lambda c: row[c]) == t) for row, t in zip(scores, task.targets, strict=True)]
    assert outcomes_of(task, scores).tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_terms_are_the_proteins_own_f1_at_the_threshold_of_fmax() -> None:
    task, scores = terms()
    truth = task.targets[task.tested] & learnable(task)
    found = [f_at(threshold, truth, scores) for threshold in np.linspace(0.01, 1.0, 100)]
    best, own = max(found, key=lambda pair: pair[0])
    outcomes = outcomes_of(task, scores)
    assert outcomes == pytest.approx(np.array(own), nan_ok=True)
    assert np.isnan(outcomes).sum() == (~truth.any(axis=1)).sum() > 0, "none of these has a term that can be learned"
    (fmax,) = (m.value for m in measure(task, scores, 0) if (m.subset, m.metric) == ("all", "fmax"))
    assert best == pytest.approx(fmax)


def test_numbers_are_absolute_errors() -> None:
    task, scores = numbers()
    pairs = zip(task.targets.tolist(), scores.tolist(), strict=True)
    assert outcomes_of(task, scores) == pytest.approx([abs(true - said) for true, said in pairs])


def test_residues_are_the_share_that_is_right() -> None:
    task, counts = residues()
    expected = [sum(of[i, i] for i in range(3)) / of.sum() if of.sum() else np.nan for of in counts]
    assert outcomes_of(task, counts) == pytest.approx(expected, nan_ok=True)
    assert np.flatnonzero(np.isnan(outcomes_of(task, counts))).tolist() == [7], "it has no residue with a state"


def test_the_linear_probe_alone_gives_the_outcomes_that_it_gives_beside_the_other() -> None:
    assert LINEAR_PROBE == LINEAR
    targets = np.arange(40) % 2
    task = made_task(CLASSIFICATION, targets, np.arange(40) % 2, ("a", "b"))
    features = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32) + 0.5 * targets[:, None]
    both, alone = (
        protein_cells(features, task, Input("s", 4), (0, 1), Protocol(resamples=1), "r", wanted)
        for wanted in (WantedResults(True, True), WantedResults(False, True))
    )
    assert both.outcomes is not None and alone.outcomes is not None
    assert both.rows is not None and alone.rows is None
    assert both.outcomes.shape == (2, 40)
    assert np.array_equal(both.outcomes, alone.outcomes)


def task_named(name: str, ids: Sequence[str], kind: str = CLASSIFICATION, first: int = 0) -> Task:
    """Proteins from number `first` on under these ids, of which every other one is tested."""
    count = len(ids)
    made = made_task(kind, np.zeros(count, np.int64), halves(count), ("a", "b"))
    keys = tuple(build.key(first + n) for n in range(count))
    return Task(name, kind, tuple(ids), keys, made.sequences, made.targets, made.names, made.fold, made.group,
                made.related, made.split)  # fmt: skip


def of_groups(location: Location, *groups: Group) -> tuple[dict[str, dict[str, float | None]], int]:
    """What is in the columns by id, where seed s of group number g gives g + s to every protein."""
    taken = Outcomes(groups)
    for number, group in enumerate(groups):
        for seed in reversed(group.seeds):
            taken.take(group, [seed], np.full((1, len(group.task.tested)), float(number + seed)))
    table, nameless = taken.table(View.open(location, "esm2-00000001"))
    rows = {row.pop("id"): row for row in table.to_pylist()}
    return rows, nameless


def test_a_row_for_each_tested_protein_a_column_for_each_task_and_input_and_means_over_seeds(tmp_path: Path) -> None:
    location = build.store(tmp_path, range(6))
    one = task_named("one", [f"P{n:05d}" for n in range(4)])
    two = task_named("two", [f"P{n:05d}" for n in range(2, 6)], first=2)
    groups = [Group(one, Input("small-1", 8, space="small-1"), (0, 3), PROTOCOL),
              Group(two, Input("random 8", 8, control="random"), (1,), PROTOCOL)]  # fmt: skip
    assert of_groups(location, *groups) == (
        {
            "P00001": {"one small-1": 1.5, "two random 8": None},
            "P00003": {"one small-1": 1.5, "two random 8": 2.0},
            "P00005": {"one small-1": None, "two random 8": 2.0},
        },
        0,
    )


def test_a_protein_has_its_stored_id_and_one_row_whatever_tasks_call_it(tmp_path: Path) -> None:
    location = build.store(tmp_path, range(2))
    build.ingest(location, build.proteins([1], "b#1", ["sp|Q9|B"]), "b#1", "d2")
    called = {
        "Q9": "P00001",  # an accession: the first stored id
        "sp|Q9|B": "sp|Q9|B",
    }
    for own, expected in called.items():
        given = Input("s", 8)
        groups = [Group(task_named(name, ["P00000", own]), given, (0,), PROTOCOL) for name in ("one", "two")]
        assert list(of_groups(location, *groups)[0]) == [expected]


def test_an_id_means_its_newest_sequence(tmp_path: Path) -> None:
    location = build.store(tmp_path, range(2))
    build.ingest(location, build.proteins([7], "b#1", ["P00001"]), "b#1", "d2")
    build.fill(location, "esm2-00000001", [7], "r2.0", build.schema())
    group = Group(task_named("one", ["P00000", "P00001"]), Input("s", 8), (0,), PROTOCOL)
    assert of_groups(location, group) == ({}, 1)


def test_names_that_stand_twice_are_told_apart() -> None:
    one, other = task_named("one", ["a", "b"]), task_named("one", ["a", "b"], REGRESSION)
    given = Input("s", 8)
    names = column_names([Group(task, given, (0,), PROTOCOL) for task in (one, other, task_named("two", ["a", "b"]))])
    assert names[2] == "two s"
    assert names[:2] == [f"one s ({task.digest[:8]}, {given.digest[:8]})" for task in (one, other)]
    assert len(set(names)) == 3


@pytest.mark.parametrize("ending", ["tsv", "csv", "parquet"])
def test_a_file_reads_back_as_labels(tmp_path: Path, ending: str) -> None:
    location = build.store(tmp_path / "s", range(6))
    task = task_named('a "quoted", one', [f"P{n:05d}" for n in range(6)])
    taken = Outcomes([Group(task, Input("s", 8), (0,), PROTOCOL)])
    taken.take(taken.groups[0], [0], np.array([[1 / 3, np.nan, 0.0]]))
    path = tmp_path / f"outcomes.{ending}"
    write_outcomes(taken.table(View.open(location, "esm2-00000001"))[0], path)
    labels = read_labels(path, keep_blank=True)
    assert labels.ids.to_pylist() == ["P00001", "P00003", "P00005"]
    assert labels.columns.to_pydict() == {'a "quoted", one s': [1 / 3, None, 0.0]}


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "outcomes.parquet"
    path.write_text("earlier")

    def full(table: object, where: Path) -> None:
        where.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outcomes_file.pq, "write_table", full)
    with pytest.raises(StoreError, match=r"outcomes\.parquet cannot be written: No space left.*All results are in"):
        write_outcomes(pa.table({"id": ["P1"]}), path)
    assert path.read_text() == "earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["outcomes.parquet"]


def test_what_keeps_a_file_from_being_written_is_said(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("id,target\n")
    assert outcomes_problems(tmp_path / "new.tsv", ["go-mf"]) == []
    (ending,) = outcomes_problems(tmp_path / "new.tsv.gz", [])
    assert "labels have one of the endings .parquet, .csv, .tsv" in ending
    for task in (str(labels), f"{labels}:regression"):
        (own,) = outcomes_problems(labels, [task])
        assert "holds the labels of a task; name another file" in own
    assert "is not a directory; make it first" in outcomes_problems(tmp_path / "none" / "new.tsv", [])[0]
    folder = tmp_path / "report"
    assert outcomes_problems(folder / "new.tsv", [], folder) == []
    assert outcomes_problems(folder / "new.txt", [], folder) != []
    assert outcomes_problems(folder / "below" / "new.tsv", [], folder) != []
