"""Write down the files of a package whose functions are given, yield or return the letters of one protein.

The package's modules are changed while they are imported: every function looks at its arguments when it begins and at
each value that it yields or returns. A profile function would be shorter and would miss the functions that Lance and
Ray call from threads which Python did not start. A file that has been seen is written down at once, in a file of its
process, because Ray's workers are killed and run nothing at their end.
"""

from __future__ import annotations

import ast
import builtins
import os
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

DEPTH = 5  # containers inside containers: job -> part -> batch -> column
MOST = 64  # items of a container that are looked at
LOOK = "__house_look__"
_SIMPLE = (int, float, bool, type(None), type)


def start() -> None:
    """Watch the modules that this process imports from now on."""
    package = os.environ["HOUSE_PACKAGE"] + os.sep
    setattr(builtins, LOOK, looker(package, os.environ["HOUSE_LETTERS"], Path(os.environ["HOUSE_SEEN"])))
    plain = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        return watched_code(path) if path.startswith(package) else plain(self, fullname)

    SourceFileLoader.get_code = get_code


def looker(package: str, letters: str, folder: Path) -> Callable[[str, Any], Any]:
    """A function that returns its second argument, and notes the file (its first) when that holds the letters."""
    seen: set[str] = set()

    def look(path: str, value: Any) -> Any:
        if path not in seen and holds(value, letters, DEPTH):
            seen.add(path)
            with (folder / f"{os.getpid()}").open("a", encoding="utf-8") as sink:
                sink.write(path.removeprefix(package) + "\n")
        return value

    return look


def watched_code(path: str) -> CodeType:
    """The code of a file, with a look at arguments, yielded and returned values in every function."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return compile(ast.fix_missing_locations(_Looks(path).visit(tree)), path, "exec")


class _Looks(ast.NodeTransformer):
    def __init__(self, path: str) -> None:
        self.path = path

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        first = int(ast.get_docstring(node, clean=False) is not None)
        node.body.insert(first, ast.Expr(self._look(ast.Call(ast.Name("locals", ast.Load()), [], []))))
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        return ast.Return(self._look(node.value)) if node.value else node

    def visit_Yield(self, node: ast.Yield) -> ast.AST:
        self.generic_visit(node)
        return ast.Yield(self._look(node.value)) if node.value else node

    def _look(self, value: ast.expr) -> ast.expr:
        return ast.Call(ast.Name(LOOK, ast.Load()), [ast.Constant(self.path), value], [])


def holds(value: Any, letters: str, depth: int) -> bool:
    """Whether `value` is or contains the letters as text, at most `depth` containers deep."""
    if isinstance(value, _SIMPLE) or depth < 0:
        return False
    if isinstance(value, str):
        return letters in value
    if isinstance(value, bytes | bytearray):
        return letters.encode() in value
    if type(value).__module__.startswith("pyarrow"):
        return _arrow_holds(value, letters)
    if isinstance(value, Mapping):
        return any(holds(item, letters, depth - 1) for item in list(value.values())[:MOST])
    if isinstance(value, list | tuple | set | frozenset):
        return any(holds(item, letters, depth - 1) for item in list(value)[:MOST])
    inside = getattr(value, "__dict__", None) or {n: getattr(value, n, None) for n in getattr(value, "__slots__", ())}
    own = type(value).__module__.startswith("protea_ray")
    return own and holds(dict(inside), letters, depth - 1)


def _arrow_holds(value: Any, letters: str) -> bool:
    """For a table, a batch or a column; readers, which can be read once, are left alone."""
    return letters in str(value.to_pylist()) if hasattr(value, "to_pylist") else False
