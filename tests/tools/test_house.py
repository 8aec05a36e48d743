"""`python -m tools.house`: each figure counts what its definition says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.house import loaded, source
from tools.house.__main__ import ROOT, main, table
from tools.house.suite import folder_of, read_suite
from tools.house.watcher.house_watch import holds, looker, watched_code

FIRST = '''"""Docstring,
of two lines."""

from typing import (
    TYPE_CHECKING,
)

if TYPE_CHECKING:
    from house.second import Twice


class Twice:  # has another home
    def long(self):
        """Two."""

        return 1
'''
SECOND = """import os

# a comment
class Twice: ...
def later():
    from house import third
    return third
"""
THIRD = "from house.second import later\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of three modules, of which second and third import each other."""
    (tmp_path / "house").mkdir()
    for name, text in {"__init__": "", "first": FIRST, "second": SECOND, "third": THIRD}.items():
        (tmp_path / "house" / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def test_static_figures(tree: Path) -> None:
    found = source.figures(source.read_modules(tree, "house"))

    assert (found["files"], found["files_with_empty"]) == (3, 4)
    assert found["lines"] == FIRST.count("\n") + SECOND.count("\n") + THIRD.count("\n") == 24
    assert found["code_lines"] == 8 + 5 + 1
    assert found["import_lines"] == 4 + 2 + 1
    assert found["import_percent"] == round(100 * 7 / 18, 1)
    assert (found["classes"], found["class_names_twice"]) == (1, "1: Twice")
    assert (found["modules"], found["module_names_twice"]) == (3, "0")
    assert found["longest_function"] == "house.first.long (4)"
    assert (found["function_max"], found["file_max"]) == (4, 16)


def test_a_cycle_is_found_through_a_function_and_not_through_type_checking(tree: Path) -> None:
    graph = source.import_graph(source.read_modules(tree, "house"))

    assert graph["house.first"] == set()
    assert source.cycles(graph) == [{"house.second", "house.third"}]


def test_this_tree_has_no_cycle_and_no_class_name_twice() -> None:
    found = source.figures(source.read_modules(ROOT))

    assert found["import_cycles"] == 0
    assert found["class_names_twice"] == "0"


def test_entries_of_this_tree_exist() -> None:
    for groups in loaded.ENTRIES.values():
        for module in groups[0]:
            assert (ROOT / "protea_ray" / module.replace(".", "/")).with_suffix(".py").is_file(), module


def test_files_with_letters_are_noted_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    program = tmp_path / "program.py"
    program.write_text("def give(x):\n    return x\ndef other(n):\n    yield n\n", encoding="utf-8")
    names: dict[str, object] = {"__house_look__": looker(f"{tmp_path}/", "MKTA", tmp_path / "seen")}
    exec(watched_code(str(program)), names)

    assert list(names["other"](3)) == [3]  # type: ignore[operator]
    assert not list((tmp_path / "seen").iterdir())
    names["give"]({"a": ["xMKTAx"]})  # type: ignore[operator]
    (note,) = (tmp_path / "seen").iterdir()
    assert note.read_text() == "program.py\n"


@pytest.mark.parametrize("value", ["MKTA", b"-MKTA", (3, "a", {"b": [None, "MKTA"]})])
def test_what_holds_letters(value: object) -> None:
    assert holds(value, "MKTA", 5)
    assert not holds(value, "WWWW", 5)


def test_seconds_by_folder_and_the_slowest(tmp_path: Path) -> None:
    cases = [("tests.store.test_commit", "a", 2.0), ("tests.store.test_lease", "b", 0.5), ("tests.test_top", "c", 9.0)]
    lines = "".join(f'<testcase classname="{c}" name="{n}" time="{s}"/>' for c, n, s in cases)
    (tmp_path / "junit.xml").write_text(f"<testsuites><testsuite>{lines}</testsuite></testsuites>", encoding="utf-8")
    found = read_suite(tmp_path / "junit.xml")

    assert (found.tests, found.seconds) == (3, 11.5)
    assert found.folders == (("(top)", 9.0), ("store", 2.5))
    assert found.slowest[0] == ("tests.test_top::c", 9.0)
    assert folder_of("tests.query.training.test_epoch") == "query"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked release has no revisions")
def test_two_trees_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(table({"a": {"files": 1200}, "now": {"files": 3}})) == [
        "| figure | a | now |", "|---|---|---|", "| files | 1,200 | 3 |",
    ]  # fmt: skip
    main(["--static", "--json", "--against", "HEAD"])

    trees = json.loads(capsys.readouterr().out)["trees"]
    assert list(trees) == ["HEAD", "now"]
    assert trees["HEAD"]["files"] > 0


def test_it_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.house", "--static"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("| figure | now |\n|---|---|\n| files with empty |")


@pytest.mark.slow
def test_the_letters_of_a_protein_are_followed_through_every_process(tmp_path: Path) -> None:
    files = loaded.letters(ROOT, tmp_path)

    assert {"sequences/read.py", "sequences/text.py", "store/ledger.py", "pipeline/worker.py"} <= set(files)
    assert not [file for file in files if file.startswith(("query/", "cli/", "config/"))]
    assert loaded.loaded(ROOT, "embed") > len(files)
