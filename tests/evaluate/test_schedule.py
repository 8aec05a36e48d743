"""Cells in Ray: the rows are those of the functions themselves, and a process that dies is tried again, then named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.cluster.ray_metrics import CELLS, CELLS_LEFT, EVALUATION_LEFT
from protea_ray.errors import CommitError, EvaluationError, InputError
from protea_ray.evaluate import cell_work, schedule
from protea_ray.evaluate.cells import Group
from protea_ray.evaluate.inputs import Input
from protea_ray.evaluate.schedule import Progress, committed, compute
from protea_ray.evaluate.task import RESIDUE
from protea_ray.pipeline.failures import own_errors
from protea_ray.store.evaluations import read_cells, read_evaluations
from protea_ray.store.location import open_location
from tests.clock import Clock
from tests.evaluate import quick_cells
from tests.evaluate.quick_cells import POISON, QUICK
from tests.recorded_metrics import RecordedMetrics


class Said:
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __getattr__(self, kind: str) -> Any:
        return lambda *told: self.lines.append(f"{kind}: {', '.join(map(str, told))}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("read_features", "protein_cells", "residue_cells"):
        monkeypatch.setattr(cell_work, name, getattr(quick_cells, name))


def group(*seeds: int, name: str = "random 8", **task: Any) -> Group:
    return Group(quick_cells.task(**task), Input(name, 8, control="random"), seeds, QUICK)


def content(table: pa.Table) -> list[dict[str, Any]]:
    rows = table.drop_columns(["finished", "run"]).to_pylist()
    return sorted(rows, key=lambda row: (row["cell"], row["probe"]))


def test_rows_from_ray_are_those_of_the_functions(
    tmp_path: Path, cluster: None, quick: None, recorded: RecordedMetrics
) -> None:
    location = open_location(tmp_path)
    groups = [group(0, 1, 2), group(0, 5, name="composition", kind=RESIDUE)]
    said = Said()
    compute(location, groups, "r1", said)  # pyright: ignore[reportArgumentType]
    features = quick_cells.read_features(groups[0].given, groups[0].task, "")
    here = [
        quick_cells.protein_rows(features, groups[0].task, groups[0].given, (0, 1, 2), QUICK, "r1"),
        quick_cells.residue_rows("", groups[1].task, groups[1].given, (0, 5), QUICK, "r1"),
    ]
    assert content(read_evaluations(location)) == content(pa.concat_tables(here))
    assert said.lines[0] == "work: training probes, cells, 5"
    assert said.lines[-1].startswith("note: 5 of 5 cells in ")
    assert recorded.total(CELLS, run="r1") == 5
    assert (recorded.last(CELLS_LEFT, run="r1"), recorded.last(EVALUATION_LEFT, run="r1")) == (0, 0)


def test_outcomes_are_of_every_cell_and_what_is_made_again_is_not_committed(
    tmp_path: Path, cluster: None, quick: None
) -> None:
    location, taken = open_location(tmp_path), dict[str, list[float]]()

    def take(of: Group, seeds: Sequence[int], values: np.ndarray) -> None:
        taken.update({f"{of}, {seed}": row.tolist() for seed, row in zip(seeds, values, strict=True)})

    groups, again = [group(0, 2)], [group(1), group(3, 4, name="composition", kind=RESIDUE)]
    said = Said()
    compute(location, groups, "r1", said, again=again, take=take)  # pyright: ignore[reportArgumentType]
    assert taken == {
        f"made from {name}, {seed}": [float(seed)] * 20
        for name, seeds in (("random 8", (0, 1, 2)), ("composition", (3, 4)))
        for seed in seeds
    }
    assert read_cells(location) == set(groups[0].cells())
    assert said.lines[-1].startswith("note: 5 of 5 cells in ")


def test_a_process_that_dies_is_tried_again(tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_work, "read_features", quick_cells.read_features)
    monkeypatch.setattr(cell_work, "protein_cells", quick_cells.dies_twice)
    marks, said = tmp_path / "marks", Said()
    marks.mkdir()
    location = open_location(tmp_path / "store")
    compute(location, [group(0, name=str(marks))], "r1", said)  # pyright: ignore[reportArgumentType]
    assert len(read_cells(location)) == 1
    assert sum("tried again" in line for line in said.lines) == 2


def test_a_process_that_always_dies_is_named_and_the_rest_is_kept(tmp_path: Path, cluster: None, quick: None) -> None:
    location = open_location(tmp_path)
    with pytest.raises(EvaluationError, match=r"made from random 8, seed 77: the process .* died 3 times"):
        compute(location, [group(0, 1, POISON)], "r1", Said())  # pyright: ignore[reportArgumentType]
    rest = group(0, 1, POISON).without(read_cells(location))
    assert rest.seeds == (POISON,)


def test_an_error_of_reading_is_that_of_the_cell(tmp_path: Path, cluster: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(cell_work, "read_features", quick_cells.no_features)
    monkeypatch.setattr(cell_work, "protein_cells", quick_cells.protein_cells)
    with pytest.raises(InputError, match="random 8 has no vector of 3 proteins"), own_errors():
        compute(open_location(tmp_path), [group(0)], "r1", Said())  # pyright: ignore[reportArgumentType]


def rows(seed: int) -> pa.Table:
    made = group(seed)
    return quick_cells.residue_rows("", made.task, made.given, (seed,), QUICK, "r1")


def test_finished_cells_are_committed_every_ten_seconds_and_at_the_end(tmp_path: Path) -> None:
    location, clock = open_location(tmp_path), Clock()
    with committed(location, clock) as add:
        add(rows(0))
        clock.now += 9
        add(rows(1))
        assert read_cells(location) == set()
        clock.now += 1
        add(rows(2))
        assert len(read_cells(location)) == 3
        add(rows(3))
    assert len(read_cells(location)) == 4


def test_what_was_finished_before_an_error_is_committed(tmp_path: Path) -> None:
    location = open_location(tmp_path)
    with pytest.raises(KeyboardInterrupt), committed(location) as add:
        add(rows(0))
        raise KeyboardInterrupt
    assert len(read_cells(location)) == 1


def test_a_commit_that_fails_does_not_hide_the_first_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise CommitError("no space left")

    monkeypatch.setattr(schedule, "append_cells", refuse)
    with pytest.raises(ValueError, match="first") as caught, committed(open_location(tmp_path)) as add:
        add(rows(0))
        raise ValueError("first")
    assert "no space left" in caught.value.__notes__[0]


def test_progress_tells_counts_and_the_time_left() -> None:
    said, clock = Said(), Clock()
    slow = group(0, 1, name="composition", kind=RESIDUE)
    slow = Group(quick_cells.task("slow", RESIDUE), slow.given, slow.seeds, QUICK)
    progress = Progress([group(0, 1, 2, 3), slow], said, 2, clock)  # pyright: ignore[reportArgumentType]
    clock.now += 6
    progress.advance("made", 1, 6.0)
    assert said.lines == ["worked: 1, 15.0"], "five more of 6 s, two at once"
    clock.now += 6
    progress.advance("made", 1, 6.0)
    assert said.lines[1:] == ["worked: 1, 12.0"], "four more of 6 s, two at once"
    clock.now += 48
    progress.advance("slow", 1, 48.0)
    assert said.lines[2:] == ["worked: 1, 30.0"], "2 x 6 s and 48 s, two at once"
    progress.advance("slow", 1, 48.0)
    progress.advance("made", 2, 12.0)
    assert progress.line() == "6 of 6 cells in 1:00"
