"""A user's table of labels as a task: formats, kinds, splits, digests, and every mistake by its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate.task import ALWAYS_TRAINS, CLASSIFICATION, MULTILABEL, REGRESSION
from protea_ray.evaluate.tasks import read_labelled, read_task
from protea_ray.query.view import View
from tests.evaluate.tasks.made import N, classes, id_of, view_of, write_rows
from tests.store import build


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    return view_of(tmp_path_factory.mktemp("tables"))


def test_rows_become_proteins_in_the_order_of_keys(view: View, tmp_path: Path) -> None:
    task = read_task(str(write_rows(tmp_path / "t.csv", classes())), None, view)
    order = sorted(range(N), key=build.key)
    assert task.ids == tuple(id_of(n) for n in order)
    assert task.keys == tuple(build.key(n) for n in order)
    assert task.sequences == tuple(build.sequence(n) for n in order)
    assert (task.kind, task.names, task.split, task.name) == (CLASSIFICATION, ("a", "b"), "given", "t")
    assert task.targets.tolist() == [n % 2 for n in order]
    assert task.fold.tolist() == [0 if n % 3 == 0 else ALWAYS_TRAINS for n in order]
    assert task.validation is not None
    assert task.validation.tolist() == [n % 3 != 0 and n % 7 == 0 for n in order]


def test_the_task_is_the_same_in_another_order_format_and_store(view: View, tmp_path: Path) -> None:
    rows = classes(range(20))
    expected = read_task(str(write_rows(tmp_path / "t.csv", rows)), None, view).digest
    columns = dict(zip(("id", "target", "split"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(write_rows(tmp_path / "t.tsv", rows).read_bytes()))
    write_rows(tmp_path / "reversed.csv", rows[::-1])
    for name in ("t.parquet", "t.tsv.gz", "t.tsv", "reversed.csv"):
        assert read_task(str(tmp_path / name), None, view).digest == expected, name
    small = view_of(tmp_path, range(20))
    assert read_task(str(tmp_path / "t.csv"), None, small).digest == expected
    other = [(*rows[0][:2], "train"), *rows[1:]]
    assert read_task(str(write_rows(tmp_path / "o.csv", other)), None, view).digest != expected


def test_kinds_that_follow_from_the_targets_are_said(tmp_path: Path) -> None:
    cases = {
        CLASSIFICATION: "ab",
        REGRESSION: [f"{n / 7:.3f}" for n in range(N)],
        MULTILABEL: ["x;y", "x", "y;z"],
    }
    for kind, targets in cases.items():
        path = write_rows(
            tmp_path / f"{kind}.csv", [(id_of(n), targets[n % len(targets)]) for n in range(N)], "id,target"
        )
        found = read_labelled(str(path), None)
        assert found.kind == kind
        assert any(f"The kind, {kind}, was inferred" in note for note in found.notes)
        assert not any("inferred" in note for note in read_labelled(f"{path}:{kind}", None).notes)
    numbers = write_rows(tmp_path / "whole.csv", [(id_of(n), n % 3) for n in range(N)], "id,target")
    assert read_labelled(str(numbers), None).kind == CLASSIFICATION


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (list(range(N)), "30 different whole numbers"),
        ([0.5, 1.0, 1.5], "3 different numbers"),
        ([f"x{n}" for n in range(N)], "30 different texts"),
        (["1;2", "2;3"], "numbers with `;` between them"),
        ([*(n / 7 for n in range(N - 1)), "n/a"], "'P00029' in line 31 has 'n/a'"),
    ],
)
def test_a_kind_that_does_not_follow_is_asked_for(targets: list[object], words: str, tmp_path: Path) -> None:
    rows = [(id_of(n), targets[n % len(targets)]) for n in range(N)]
    path = write_rows(tmp_path / "t.csv", rows, "id,target")
    with pytest.raises(ConfigError, match="write ") as caught:
        read_labelled(str(path), None)
    assert words in str(caught.value)
    assert f"{path}:" in str(caught.value)


def test_numbers_and_terms(view: View, tmp_path: Path) -> None:
    values = {n: n / 7 - 1 for n in range(N)}
    numbers = write_rows(tmp_path / "n.csv", [(id_of(n), v) for n, v in values.items()], "id,target")
    task = read_task(f"{numbers}:regression", None, view)
    assert task.targets.dtype == np.float64
    assert dict(zip(task.ids, task.targets.tolist(), strict=True)) == {id_of(n): v for n, v in values.items()}
    terms = write_rows(tmp_path / "m.csv", [(id_of(n), "x;y;x" if n % 2 else "z") for n in range(N)], "id,target")
    several = read_task(f"{terms}:multilabel", None, view)
    assert several.names == ("x", "y", "z")
    assert {id: row.tolist() for id, row in zip(several.ids, several.targets, strict=True)} == {
        id_of(n): [True, True, False] if n % 2 else [False, False, True] for n in range(N)
    }
    lists = pa.table({"id": [id_of(n) for n in range(N)], "target": [["x", "y"] if n % 2 else ["z"] for n in range(N)]})
    pq.write_table(lists, tmp_path / "m.parquet")
    assert read_task(f"{tmp_path / 'm.parquet'}:multilabel", None, view).digest == several.digest


def test_every_mistake_of_a_file_is_in_one_message(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "t.csv",
        [("P1", 0.5, "train"), ("P2", "high", "test"), ("P3", 1.5, "tets"), ("P1", 0.7, "train"), ("P4", 1),
         ("", 2.5, "train"), ("P5", "nan", "test"), ("P6", 1.5, "")],
    )  # fmt: skip
    with pytest.raises(InputError) as caught:
        read_labelled(f"{path}:regression", None)
    assert len(caught.value.problems) == 7
    said = str(caught.value)
    for line, words in (
        (3, "'P2': the target 'high' is not a finite number"),
        (4, "'P3': the split 'tets' is none of train, validation and test; did you mean test?"),
        (5, "'P1' stands in line 2 with another label"),
        (6, "the row has 2 columns, the header 3"),
        (7, "no id"),
        (8, "'P5': the target 'nan' is not a finite number"),
        (9, "'P6': no split"),
    ):
        assert f"{path}:{line}: {words}" in said


def test_many_mistakes_are_counted(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.csv", [(id_of(n), "high") for n in range(50)], "id,target")
    with pytest.raises(InputError, match="and 30 more") as caught:
        read_labelled(f"{path}:regression", None)
    assert len(caught.value.problems) == 21


def test_blank_targets_and_repeated_rows_are_said(view: View, tmp_path: Path) -> None:
    rows = [*classes(), classes()[4]]
    rows[5] = (rows[5][0], "", rows[5][2])
    task = read_task(str(write_rows(tmp_path / "t.csv", rows)), None, view)
    assert len(task) == N - 1
    assert "1 rows have no target and are left out (P00005 in line 7)" in task.notes
    assert "1 rows repeat an id with the same label (P00004)" in task.notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n, t, s: (n, t, "train"), "no row of the split is test"),
        (lambda n, t, s: (n, t, "test"), "no row of the split is train"),
        (lambda n, t, s: (n, t if s == "test" else "a", s), "all 20 training proteins have one target, 'a'"),
    ],
)
def test_a_split_that_teaches_or_tests_nothing_is_refused(
    change: object, words: str, view: View, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "t.csv", [change(*row) for row in classes()])  # type: ignore[operator]
    with pytest.raises(InputError, match=words):
        read_task(f"{path}:classification", None, view)


def test_rare_terms_and_constants_cannot_be_learned(view: View, tmp_path: Path) -> None:
    rare = write_rows(tmp_path / "m.csv", [(id_of(n), f"t{n % 5};u{n}") for n in range(N)], "id,target")
    with pytest.raises(InputError, match="no term has 10 training proteins"):
        read_task(f"{rare}:multilabel", None, view)
    constant = write_rows(tmp_path / "r.csv", [(id_of(n), 2.5) for n in range(N)], "id,target")
    with pytest.raises(InputError, match="one target, 'the same number'"):
        read_task(f"{constant}:regression", None, view)


def test_a_class_that_is_only_tested_is_said(view: View, tmp_path: Path) -> None:
    rows = [(id, "new" if id == id_of(0) else target, split) for id, target, split in classes()]
    task = read_task(str(write_rows(tmp_path / "t.csv", rows)), None, view)
    assert "new occurs among tested proteins alone and cannot be predicted" in task.notes


def test_columns_and_names_that_are_not_there(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.csv", [("P1", "a")], "id,traget")
    with pytest.raises(ConfigError, match="no column target; it has id, traget; did you mean traget"):
        read_labelled(str(path), None)
    twice = write_rows(tmp_path / "w.csv", [("P1", "a", "b")], "id,target,target")
    with pytest.raises(ConfigError, match="more than one column target"):
        read_labelled(str(twice), None)
    with pytest.raises(ConfigError, match=r"'classificaton' is no kind of task.*did you mean classification"):
        read_labelled(f"{path}:classificaton", None)
    with pytest.raises(ConfigError, match=r"no file and no named task.*did you mean localization"):
        read_labelled("localisation", None)
    with pytest.raises(ConfigError, match="localization needs the folder"):
        read_labelled("localization", None)
    with pytest.raises(ConfigError, match=r"labels.tsv is neither there nor in task_localization"):
        read_labelled("localization", tmp_path)
    with pytest.raises(ConfigError, match="is a folder"):
        read_labelled(str(tmp_path), None)
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"labels are read from \.csv"):
        read_labelled(str(tmp_path / "t.xlsx"), None)
    (tmp_path / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_labelled(str(tmp_path / "t.parquet"), None)
    (tmp_path / "empty.csv").write_text("id,target\n")
    with pytest.raises(InputError, match="has no row"):
        read_labelled(str(tmp_path / "empty.csv"), None)
