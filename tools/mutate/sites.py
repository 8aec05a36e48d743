"""Every place of a source text where a small change can be made, and the places that are left alone.

Left alone are texts for people (docstrings, f-strings, messages of exceptions, what is logged or printed), annotations,
imports, `assert`, and blocks for type checkers: a change there has no consequence that a test should see.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.mutate.operators import BY_NODE, Edit, Source, arithmetic, returned, statement

_FIELDS: dict[type, tuple[str, ...]] = {  # annotations and decorators are not among them
    ast.arg: (), ast.AnnAssign: ("value",), ast.ClassDef: ("body",),
    ast.FunctionDef: ("args", "body"), ast.AsyncFunctionDef: ("args", "body"),
}  # fmt: skip
_LOGS = ("log", "logger", "logging", "warnings", "_log", "print", "typer")


def sites(text: str) -> list[Edit]:
    """All edits of a source text in the order of their places; raises SyntaxError for a text that is no Python."""
    source = Source(text)
    edits = [edit for node in source.tree.body for edit in _inside(node, source, "")]
    return sorted(edits, key=lambda edit: (edit.start, edit.end, edit.new))


def apply(text: str, edit: Edit) -> str:
    """The text with one edit made."""
    return text[: edit.start] + edit.new + text[edit.end :]


def changes_code(text: str, edit: Edit) -> bool:
    """Whether the edited text can be parsed and is another program."""
    try:
        return ast.dump(ast.parse(apply(text, edit))) != ast.dump(ast.parse(text))
    except SyntaxError:
        return False


def _inside(node: ast.AST, source: Source, annotation: str) -> Iterator[Edit]:
    """Edits of a node and of what lies in it; `annotation` is what the function around it returns."""
    if _is_left_alone(node):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        annotation = source.of(node.returns) if node.returns else ""
    if isinstance(node, ast.stmt):
        yield from statement(node, source)
    if isinstance(node, ast.AugAssign):
        yield from arithmetic(node, source)
    if isinstance(node, ast.Return):
        yield from returned(node, annotation, source)
    if type(node) in BY_NODE:
        yield from BY_NODE[type(node)](node, source)
    for child in _children(node):
        yield from _inside(child, source, annotation)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node in which a change may have a consequence."""
    if isinstance(node, ast.Raise):
        return
    for name in _FIELDS.get(type(node), node._fields):
        value = getattr(node, name, None)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child


def _is_left_alone(node: ast.AST) -> bool:
    """Whether nothing of a node is changed."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Assert | ast.JoinedStr):
        return True
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring, or an ellipsis
    called = node.value if isinstance(node, ast.Expr) else node
    return isinstance(called, ast.Call) and _first_name(called.func) in _LOGS


def _first_name(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""
