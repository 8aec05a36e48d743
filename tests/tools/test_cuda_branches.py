"""`python -m tools.cuda_branches`: what it finds in a source, and that docs/cuda.md lists what the source has."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools import cuda_branches
from tools.cuda_branches import CALLED, NO, YES, Place, Reporting

ROOT = Path(__file__).resolve().parents[2]


def found(source: str) -> list[str]:
    """The text of each place of a source."""
    looked = Reporting("a.py")
    looked.visit(ast.parse(source))
    return [place.text for place in looked.places]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1 if device.type == 'cuda' else 2", ["device.type == 'cuda'"]),
        ("if kind != 'cpu': pass", ["kind != 'cpu'"]),
        ("x = float(kind == 'GPU')", ["kind == 'GPU'"]),
        ("x = 'cpu' in controllers", []),
        ("x = 'CUDA error' in str(error)", ["'CUDA error' in str(error)"]),
        ("x = q.is_cuda", ["q.is_cuda"]),
        ("x = 0 if gpus else 1\ny = f(gpus)", ["gpus"]),
        ("x = a and not cuda", ["cuda"]),
        ("torch.cuda.empty_cache()", ["torch.cuda.empty_cache()"]),
        ("with torch.cuda.stream(torch.cuda.Stream()): pass", ["torch.cuda.stream(torch.cuda.Stream())"] * 1),
        ("x.pin_memory().to(d)", ["x.pin_memory()"]),
        ("torch.empty(1, pin_memory=True)", ["torch.empty(1, pin_memory=True)"]),
        ("x: Literal['cuda'] = 'cuda'", []),
    ],
)
def test_what_belongs_to_a_gpu(source: str, expected: list[str]) -> None:
    assert found(source)[: len(expected)] == expected
    assert bool(found(source)) == bool(expected)


def test_a_place_reports_its_value_and_changes_nothing() -> None:
    looked = Reporting("a.py")
    tree = looked.visit(ast.parse("def f(kind):\n    return 1 if kind == 'cuda' else 1 if kind == 'cuda' else 2"))
    seen: list[tuple[int, bool]] = []
    space = {"_report_": lambda number, value: seen.append((number, value)) or value}
    exec(compile(tree, "a.py", "exec"), space)
    assert (space["f"]("cuda"), space["f"]("cpu")) == (1, 2)  # type: ignore[operator]
    assert seen == [(0, True), (0, False), (1, False)]
    assert [(place.function, place.number, place.outcomes) for place in looked.places] == [
        ("f", 1, (YES, NO)),
        ("f", 2, (YES, NO)),
    ]


def test_a_row_for_each_outcome_with_its_test_or_nobody() -> None:
    asked, called = Place("a.py", "f", "x == 'cuda'", False), Place("a.py", "g", "torch.cuda.f()", True)
    seen = {(asked, YES): {"tests/b.py::test_b", "tests/a.py::test_z"}, (called, CALLED): {"tests/a.py::test_a"}}
    assert list(cuda_branches.table([asked, called], seen))[2:] == [
        "| `a.py` f | `x == 'cuda'` | true | a.py test_z |",
        "| `a.py` f | `x == 'cuda'` | false | nobody |",
        "| `a.py` g | `torch.cuda.f()` | called | a.py test_a |",
    ]


def rows() -> list[list[str]]:
    """The cells of the table in docs/cuda.md."""
    page = cuda_branches.PAGE.read_text(encoding="utf-8")
    lines = page.partition(cuda_branches.BEGIN)[2].partition(cuda_branches.END)[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_lists_every_branch_of_the_source() -> None:
    """A new one is missing until somebody runs `python -m tools.cuda_branches`; one without a test has `nobody`."""
    expected = [line.rpartition(" | ")[0] for line in cuda_branches.table(cuda_branches.places(), {})][2:]
    assert [f"| {' | '.join(row[:3])}" for row in rows()] == expected
    assert len(expected) > 60


def test_every_branch_is_executed_by_a_test_that_is_there() -> None:
    assert not [row for row in rows() if row[3] == "nobody"]
    for file, test in {tuple(row[3].split(" ", 1)) for row in rows()}:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_tests_execute_what_the_page_says() -> None:
    """In a process of its own, whose modules report their branches: a minute."""
    command = [sys.executable, "-m", "tools.cuda_branches", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
