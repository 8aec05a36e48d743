"""Results in the store: a cell is there once, whole, whoever appends it and whatever is lost on the way."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from protea_ray.errors import CommitError, ConfigError, StoreError
from protea_ray.store import commit, evaluations
from protea_ray.store.evaluations import EVALUATIONS, KEY, append_cells, read_cells, read_evaluations
from protea_ray.store.location import EVALUATIONS_TABLE, Location, open_location

CELLS = [f"{number:016x}" for number in range(12)]


def rows(*cells: str, task: str = "localization", run: str = "r1", metrics: tuple[str, ...] = ("accuracy", "mcc")):
    """Two rows of each cell."""
    of_type: dict[pa.DataType, Any] = {pa.string(): "x", pa.bool_(): True, pa.int64(): 1, pa.int32(): 1}
    fixed = {field.name: of_type.get(field.type) for field in EVALUATIONS}
    fixed |= {"finished": datetime(2026, 2, 3, tzinfo=UTC), "value": 0.5, "resampled": [0.25, 0.75], "run": run}
    made = [{**fixed, "cell": cell, "task": task, "metric": metric} for cell in cells for metric in metrics]
    return pa.Table.from_pylist(made, EVALUATIONS)


def keys(location: Location) -> Counter[tuple[str, ...]]:
    found = read_evaluations(location, columns=KEY).to_pylist()
    return Counter(tuple(row[name] for name in KEY) for row in found)


def test_a_store_without_the_table_has_no_results(tmp_path: Path) -> None:
    location = open_location(tmp_path)
    assert read_cells(location) == set()
    assert read_evaluations(location).schema == EVALUATIONS
    assert len(read_evaluations(location, task="localization")) == 0
    assert location.tables() == []


def test_rows_come_back_as_they_were_given(tmp_path: Path) -> None:
    location = open_location(tmp_path)
    given = rows(*CELLS[:3])
    assert append_cells(location, given) == 6
    assert read_evaluations(location).equals(given)
    assert read_cells(location) == set(CELLS[:3])


def test_a_cell_that_is_there_is_left_out(tmp_path: Path) -> None:
    location = open_location(tmp_path)
    append_cells(location, rows(*CELLS[:3]))
    assert append_cells(location, rows(*CELLS[1:5], run="r2")) == 4
    assert append_cells(location, rows(*CELLS[:5], run="r3")) == 0
    assert set(keys(location).values()) == {1}
    assert set(read_evaluations(location, run="r2")["cell"].to_pylist()) == set(CELLS[3:5])


def test_filters_choose_rows_and_columns(tmp_path: Path) -> None:
    location = open_location(tmp_path)
    append_cells(location, rows(*CELLS[:4]))
    append_cells(location, rows(*CELLS[4:6], task="it's go-mf"))
    assert set(read_evaluations(location, task="it's go-mf")["cell"].to_pylist()) == set(CELLS[4:6])
    chosen = read_evaluations(location, columns=["cell", "value"], cell=CELLS[2:5], metric="mcc", seed=1)
    assert sorted(chosen["cell"].to_pylist()) == CELLS[2:5]
    assert chosen.column_names == ["cell", "value"]
    assert len(read_evaluations(location, cell=[])) == 0


def test_a_list_longer_than_one_filter_gives_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = open_location(tmp_path)
    append_cells(location, rows(*CELLS))
    monkeypatch.setattr(evaluations, "_VALUES_OF_ONE_FILTER", 5)
    found = read_evaluations(location, cell=[*CELLS, *CELLS], task=["localization", "other"])
    assert sorted(found["cell"].to_pylist()) == sorted([*CELLS, *CELLS])


def test_a_column_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no column 'tasks'; did you mean task\?"):
        read_evaluations(open_location(tmp_path), tasks="localization")


@pytest.mark.parametrize("there_before", [True, False])
def test_threads_that_append_the_same_cells_at_once(tmp_path: Path, there_before: bool) -> None:
    """Each appends its own cells and those of all; in the end each cell is there once."""
    location = open_location(tmp_path)
    if there_before:
        append_cells(location, rows(CELLS[0]))
    barrier, failed = threading.Barrier(3), list[BaseException]()

    def work(number: int) -> None:
        barrier.wait()
        try:
            for cell in CELLS[:2]:
                append_cells(location, rows(cell, CELLS[2 + number], run=f"r{number}"))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert keys(location) == Counter(
        {(cell, "x", "x", metric): 1 for cell in CELLS[:5] for metric in ("accuracy", "mcc")}
    )


@pytest.mark.parametrize("moment", ["after the look", "after the files"])
def test_another_command_appends_the_cell_between_look_and_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    location = open_location(tmp_path)
    append_cells(location, rows(CELLS[5]))
    met = []

    def meet(original: Any) -> Any:
        def between(*arguments: Any, **options: Any) -> Any:
            if moment == "after the files":
                result = original(*arguments, **options)
            if not met:
                met.append(True)
                append_cells(location, rows(CELLS[0], run="other"))
            if moment == "after the look":
                result = original(*arguments, **options)
            return result

        return between

    monkeypatch.setattr(commit, "write_fragments", meet(commit.write_fragments))
    assert append_cells(location, rows(CELLS[0], CELLS[1])) == 2
    assert set(keys(location).values()) == {1}
    assert set(read_evaluations(location, cell=CELLS[0])["run"].to_pylist()) == {"other"}


def test_an_append_whose_answer_was_lost_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = open_location(tmp_path)
    lost, original = [], evaluations._append_at

    def lose(*arguments: Any) -> None:
        original(*arguments)
        if not lost:
            lost.append(True)
            raise OSError("the answer was lost")

    monkeypatch.setattr(evaluations, "_append_at", lose)
    append_cells(location, rows(*CELLS[:2]))
    assert lost
    assert set(keys(location).values()) == {1}


def test_a_store_that_takes_nothing_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(evaluations, "_append_at", refuse)
    monkeypatch.setattr(evaluations, "_LONGEST_PAUSE", 0.0)
    with pytest.raises(CommitError, match=r"did not take results in 12 attempts.*no space left.*run the same command"):
        append_cells(open_location(tmp_path), rows(CELLS[0]))
    assert read_cells(open_location(tmp_path)) == set()


def test_a_table_of_others_is_refused(tmp_path: Path) -> None:
    location = open_location(tmp_path)
    lance.write_dataset(pa.table({"cell": [1]}), location.table(EVALUATIONS_TABLE))
    with pytest.raises(StoreError, match="other columns"):
        append_cells(location, rows(CELLS[0]))
