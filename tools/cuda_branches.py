"""Which lines belong to a GPU, which test executes each: `python -m tools.cuda_branches` writes them to docs/cuda.md.

    python -m tools.cuda_branches --check    # exit code 1 where the table is not what the tests do

Two things are looked for in the source: conditions on the device (a comparison with `cuda`, `cpu` or `GPU`, `is_cuda`,
`torch.cuda.is_available()`, and names of NAMES where they decide), and calls of what only a GPU has (`torch.cuda.*`,
`pin_memory`, `record_stream`). Coverage data would not do: it counts lines, and most of these conditions have both of
their outcomes in one line. So the tests run on modules in which each place reports its value.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "protea_ray"
PAGE = ROOT / "docs" / "cuda.md"
BEGIN, END = "<!-- branches: python -m tools.cuda_branches -->", "<!-- end of branches -->"
TESTS = (
    "tests/encoder/test_cuda.py", "tests/encoder/test_cuda_choices.py", "tests/encoder/test_cuda_forward.py",
    "tests/encoder/test_cuda_streams.py", "tests/encoder/test_device.py", "tests/encoder/test_transfer.py",
    "tests/encoder/test_acceleration.py", "tests/encoder/test_compiled.py",
    "tests/pipeline/test_pool.py", "tests/pipeline/test_gpu_parts.py", "tests/config/test_recipe.py",
    "tests/query/test_own_recipe.py", "tests/evaluate/test_precision.py", "tests/comparison/test_cost_on_a_gpu.py",
    "tests/train/test_on_a_gpu.py", "tests/train/test_gradients.py", "tests/train/test_forecast.py",
)  # fmt: skip
ON_A_CARD = {"acceptance", "testing"}  # rooms that are run on a card themselves: the acceptance, and what it builds
DEVICES = {"cuda", "cpu", "gpu"}  # first words of what is compared, in any case
NAMES = {"cuda", "fused", "gpus"}  # what the source calls an answer about a device
CALLS = {"pin_memory", "record_stream"}
YES, NO, CALLED = "true", "false", "called"


@dataclass(frozen=True, order=True)
class Place:
    """A condition on the device, or a call of what only a GPU has; told apart by its text, since lines move."""

    file: str
    function: str
    text: str
    is_call: bool
    number: int = 1  # of those that read the same in one function

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What must happen in some test."""
        return (CALLED,) if self.is_call else (YES, NO)


Outcome = tuple[Place, str]
Report = Callable[[Place, Any], Any]


class Reporting(ast.NodeTransformer):
    """Wrap every place of one module into a call of `_report_`, and collect the places."""

    def __init__(self, file: str) -> None:
        self.file, self.places, self._inside = file, list[Place](), list[str]()

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._within(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._within(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        words = DEVICES if isinstance(node.ops[0], ast.Eq | ast.NotEq) else {"cuda"}  # 'cpu' in ... is a cgroup's
        names_device = any(_first_word(part) in words for part in [node.left, *node.comparators])
        return self._reported(node, is_call=False) if names_device else self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return self._reported(node, is_call=False) if node.attr == "is_cuda" else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func)
        if name == "torch.cuda.is_available":
            return self._reported(node, is_call=False)
        asks = name.startswith("torch.cuda.") or name.rpartition(".")[2] in CALLS
        asks |= any(keyword.arg in CALLS for keyword in node.keywords)
        return self._reported(node, is_call=True) if asks else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        node.test = self._decided(node.test)
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self._decided(node.test)
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        node.values = [self._decided(value) for value in node.values]
        return self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        node.operand = self._decided(node.operand) if isinstance(node.op, ast.Not) else node.operand
        return self.generic_visit(node)

    def _decided(self, test: ast.expr) -> ast.expr:
        return self._reported(test, is_call=False) if isinstance(test, ast.Name) and test.id in NAMES else test

    def _within(self, node: Any) -> ast.AST:
        self._inside.append(node.name)
        found = self.generic_visit(node)
        self._inside.pop()
        return found

    def _reported(self, node: Any, *, is_call: bool) -> Any:
        place = Place(self.file, ".".join(self._inside) or "module", ast.unparse(node), is_call)
        same = sum((one.function, one.text) == (place.function, place.text) for one in self.places)
        self.places.append(replace(place, number=same + 1))
        number = ast.Constant(len(self.places) - 1)
        inner: Any = self.generic_visit(copy.deepcopy(node))
        asked = ast.Call(ast.Name("_report_", ast.Load()), [number, inner], [])
        return ast.fix_missing_locations(ast.copy_location(asked, node))


def _first_word(part: ast.expr) -> str:
    """The first word of a text in the source, in lower case; empty for anything else."""
    text = part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""
    return text.lower().partition(" ")[0]


def places_of(file: Path) -> list[Place]:
    """The places of one module, in the order of the source."""
    looked = Reporting(file.relative_to(PACKAGE).as_posix())
    looked.visit(ast.parse(file.read_text(encoding="utf-8")))
    return looked.places


def places() -> list[Place]:
    """The places of the package, each once."""
    files = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] not in ON_A_CARD]
    return sorted({place for file in files for place in places_of(file)})


class _Loader(SourceFileLoader):
    """Loads a module whose places report; `report` is called with each place and its value, and returns the value."""

    report: Report

    def exec_module(self, module: ModuleType) -> None:
        file = Path(self.path)
        looked = Reporting(file.relative_to(PACKAGE).as_posix())
        tree = looked.visit(ast.parse(file.read_text(encoding="utf-8")))
        found = looked.places
        module.__dict__["_report_"] = lambda number, value: self.report(found[number], value)
        exec(compile(tree, self.path, "exec"), module.__dict__)


class _Finder(MetaPathFinder):
    def __init__(self, report: Report) -> None:
        self.report = report

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(f"{PACKAGE.name}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader) and places_of(Path(spec.loader.path)):
            spec.loader = _Loader(name, spec.loader.path)
            spec.loader.report = self.report
        return spec


def executed(tests: Sequence[str] = TESTS) -> dict[Outcome, set[str]]:
    """Run `tests` in this process, into which no module of the package was loaded before; the tests of each outcome.

    Raises SystemExit with pytest's code when a test fails. What a test does in another process is not seen.
    """
    import pytest

    seen: dict[Outcome, set[str]] = defaultdict(set)

    def report(place: Place, value: Any) -> Any:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split("[")[0].split(" ")[0]
        if test:
            seen[place, CALLED if place.is_call else YES if value else NO].add(test)
        return value

    sys.meta_path.insert(0, _Finder(report))
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", "not test_every_state", *tests])
    if code:
        raise SystemExit(int(code))
    return seen


def table(found: Sequence[Place], seen: Mapping[Outcome, set[str]]) -> Iterator[str]:
    """A Markdown table: a row for each place and outcome, with the test that executes it, or `nobody`."""
    yield from ("| where | what | outcome | executed by |", "|---|---|---|---|")
    for place in found:
        for outcome in place.outcomes:
            by = min(seen.get((place, outcome), {"nobody"})).removeprefix("tests/").replace("::", " ", 1)
            text = place.text.replace("|", "\\|")
            again = f", {place.number}." if place.number > 1 else ""
            yield f"| `{place.file}` {place.function} | `{text}`{again} | {outcome} | {by} |"


def replaced(page: str, lines: Iterator[str]) -> str:
    """`page` with the lines between its two marks replaced."""
    before, _, rest = page.partition(BEGIN)
    return "\n".join([before + BEGIN, "", *lines, "", END]) + rest.partition(END)[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table, or compare it; exit code 1 where it differs or nobody executes something."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.cuda_branches", description="Lines of a GPU, and the tests that execute them."
    )
    parser.add_argument("--check", action="store_true", help="compare with the page, write nothing")
    asked = parser.parse_args(arguments)
    before = PAGE.read_text(encoding="utf-8")
    after = replaced(before, table(places(), executed()))
    if not asked.check:
        PAGE.write_text(after, encoding="utf-8")
    missing = [line for line in after.splitlines() if line.endswith("| nobody |")]
    stale = before != after
    print(
        "\n".join([*missing, f"{len(missing)} outcomes that no test has; the page {'was old' if stale else 'holds'}"])
    )
    return int(bool(missing) or (asked.check and stale))


if __name__ == "__main__":
    raise SystemExit(main())
