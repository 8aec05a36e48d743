"""Small changes that a programmer might make by mistake, one function for each kind of syntax node.

Each function takes a node and the source and yields edits: a stretch of the text and what stands there instead. A
change is small and plausible, and mostly leaves code that can be parsed; whether it matters is for the tests to say.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Edit:
    """Characters [start, end) of a source text become `new`; `operator` names the kind of change."""

    start: int
    end: int
    new: str
    operator: str


@dataclass
class Source:
    """A text, its syntax tree, and where each node stands in it, in characters."""

    text: str
    tree: ast.Module = field(init=False)
    required: dict[str, int] = field(init=False)  # positional arguments without a default, by function of this file
    _lines: list[tuple[int, bytes]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.tree = ast.parse(self.text)
        start = 0
        for line in self.text.splitlines(keepends=True):
            self._lines.append((start, line.encode()))
            start += len(line)
        functions = [node for node in self.tree.body if isinstance(node, ast.FunctionDef)]
        self.required = {f.name: len(f.args.posonlyargs + f.args.args) - len(f.args.defaults) for f in functions}

    def place(self, line: int, column: int) -> int:
        """The character at a 1-based line and a column in bytes of UTF-8, which is what ast counts."""
        start, encoded = self._lines[line - 1]
        return start + len(encoded[:column].decode())

    def span(self, node: Any) -> tuple[int, int]:
        """First character of a node and the one after its last."""
        return self.place(node.lineno, node.col_offset), self.place(node.end_lineno, node.end_col_offset)

    def of(self, node: ast.AST) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def replaced(self, node: ast.AST, new: str, operator: str) -> Edit:
        """The edit that puts `new` in the place of a node."""
        return Edit(*self.span(node), new, operator)

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str, operator: str) -> Iterator[Edit]:
        """The edit of the token `old`, a pattern, that stands between two nodes."""
        start, end = self.span(left)[1], self.span(right)[0]
        match = re.search(old, self.text[start:end])
        if match:
            yield Edit(start + match.start(), start + match.end(), new, operator)


_COMPARISONS: dict[type, tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: (r"\bis\b", "is not"), ast.IsNot: (r"\bis\s+not\b", "is"),
    ast.In: (r"\bin\b", "not in"), ast.NotIn: (r"\bnot\s+in\b", "in"),  # codespell:ignore notin
}  # fmt: skip
_ARITHMETIC: dict[type, tuple[str, str]] = {
    ast.Add: (r"\+", "-"), ast.Sub: ("-", "+"), ast.Mult: (r"\*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "//"), ast.BitAnd: ("&", "|"), ast.BitOr: (r"\|", "&"),
}  # fmt: skip
_PAIRS = (
    ("min", "max"), ("any", "all"), ("minimum", "maximum"), ("floor", "ceil"), ("argmin", "argmax"),
    ("startswith", "endswith"), ("zeros", "ones"), ("removeprefix", "removesuffix"), ("partition", "rpartition"),
)  # fmt: skip
_OTHER = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])} | {"sum": "max", "sorted": "list"}
_SYMMETRIC = ("min", "max", "minimum", "maximum")
_EMPTY = {"list": "[]", "tuple": "()", "dict": "{}", "set": "set()", "int": "0", "float": "0.0", "str": '""'}


def compare(node: ast.Compare, source: Source) -> Iterator[Edit]:
    """< and <=, == and !=, `is None` and `is not None`, in and not in."""
    operands = [node.left, *node.comparators]
    for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
        yield from source.between(left, right, *_COMPARISONS[type(operator)], "comparison")


def boolean(node: ast.BoolOp, source: Source) -> Iterator[Edit]:
    """One `and` of a chain becomes `or`, or the other way."""
    old, new = (r"\band\b", "or") if isinstance(node.op, ast.And) else (r"\bor\b", "and")
    for left, right in zip(node.values, node.values[1:], strict=False):
        yield from source.between(left, right, old, new, "and/or")


def negation(node: ast.UnaryOp, source: Source) -> Iterator[Edit]:
    """`not x` becomes `x`."""
    if isinstance(node.op, ast.Not):
        yield source.replaced(node, source.of(node.operand), "not removed")


def condition(node: ast.If | ast.IfExp | ast.While, source: Source) -> Iterator[Edit]:
    """A plain condition, a name or a call, is negated; comparisons have edits of their own."""
    if isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
        yield source.replaced(node.test, f"not {source.of(node.test)}", "condition negated")


def arithmetic(node: ast.BinOp | ast.AugAssign, source: Source) -> Iterator[Edit]:
    """+ and -, * and /; not where texts are joined."""
    left, right = (node.target, node.value) if isinstance(node, ast.AugAssign) else (node.left, node.right)
    joins_text = any(isinstance(part, ast.JoinedStr | ast.Constant) and not _is_number(part) for part in (left, right))
    if type(node.op) in _ARITHMETIC and not joins_text:
        yield from source.between(left, right, *_ARITHMETIC[type(node.op)], "arithmetic")


def constant(node: ast.Constant, source: Source) -> Iterator[Edit]:
    """A whole number becomes the next one or the one before; True becomes False."""
    if isinstance(node.value, bool):
        yield source.replaced(node, str(not node.value), "boolean constant")
    elif isinstance(node.value, int):
        for step in (1, -1):
            yield source.replaced(node, str(node.value + step), "integer constant")


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def call(node: ast.Call, source: Source) -> Iterator[Edit]:
    """Another function of the same shape, two arguments exchanged, one left out."""
    yield from _other_function(node, source)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        yield from _other_key(node.args[0], source)
    plain = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
    is_symmetric = _called(node) in _SYMMETRIC
    if (
        len(plain) >= 2
        and len(plain) == len(node.args)
        and not is_symmetric
        and source.of(plain[0]) != source.of(plain[1])
    ):
        start, end = source.span(plain[0])[0], source.span(plain[1])[1]
        middle = source.text[source.span(plain[0])[1] : source.span(plain[1])[0]]
        if "#" not in middle:
            yield Edit(start, end, source.of(plain[1]) + middle + source.of(plain[0]), "arguments exchanged")
    if isinstance(node.func, ast.Name) and len(plain) > source.required.get(node.func.id, len(plain)):
        yield _without(node, plain[-1], source)
    for keyword in node.keywords:
        if keyword.arg is not None:
            yield _without(node, keyword, source)


def _called(node: ast.Call) -> str:
    """The last part of the name of what is called; empty where it has none."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _other_function(node: ast.Call, source: Source) -> Iterator[Edit]:
    """min for max, any for all, ...; `sorted` becomes `list` and loses its keywords."""
    name = _called(node)
    if name not in _OTHER:
        return
    if name == "sorted":
        yield source.replaced(node, f"list({source.of(node.args[0])})", "sorted removed")
        return
    end = source.span(node.func)[1]
    yield Edit(end - len(name), end, _OTHER[name], "other function")


def _without(call: ast.Call, argument: ast.AST, source: Source) -> Edit:
    """Leave out one argument with the comma before it, or the one after it where it stands first."""
    start, end = source.span(argument)
    before = source.text[:start].rstrip()
    if before.endswith(","):
        return Edit(len(before) - 1, end, "", "argument left out")
    rest = source.text[end : source.span(call)[1]]
    comma = re.match(r"\s*,\s*", rest)
    return Edit(start, end + (comma.end() if comma else 0), "", "argument left out")


def subscript(node: ast.Subscript, source: Source) -> Iterator[Edit]:
    """A string key that is not there, and slices that begin or end one off."""
    yield from _other_key(node.slice, source)
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for part in parts:
        if isinstance(part, ast.Slice):
            if part.lower is not None:
                yield source.replaced(part.lower, f"({source.of(part.lower)}) + 1", "slice")
            if part.upper is not None:
                yield source.replaced(part.upper, f"({source.of(part.upper)}) - 1", "slice")


def mapping(node: ast.Dict, source: Source) -> Iterator[Edit]:
    """A string key of a dict with another name."""
    for key in node.keys:
        yield from _other_key(key, source)


def _other_key(key: ast.AST | None, source: Source) -> Iterator[Edit]:
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        yield source.replaced(key, repr(key.value + "_"), "string key")


def handler(node: ast.ExceptHandler, source: Source) -> Iterator[Edit]:
    """An `except` that catches more, or less."""
    if isinstance(node.type, ast.Tuple):
        yield source.replaced(node.type, source.of(node.type.elts[0]), "except narrowed")
    elif isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"):
        narrower = {"Exception": "ValueError", "BaseException": "Exception"}[node.type.id]
        yield source.replaced(node.type, narrower, "except narrowed")
    if node.type is not None and source.of(node.type) not in ("Exception", "BaseException"):
        yield source.replaced(node.type, "Exception", "except broadened")


def statement(node: ast.stmt, source: Source) -> Iterator[Edit]:
    """A statement whose absence does not stop the program at once is left out."""
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.YieldFrom)
    elsewhere = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
    if is_call or elsewhere or isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break):
        yield source.replaced(node, "pass", "statement left out")


def returned(node: ast.Return, annotation: str, source: Source) -> Iterator[Edit]:
    """A function returns the empty value of its annotation, or the other truth."""
    if node.value is None or isinstance(node.value, ast.Constant | ast.JoinedStr):
        return
    kind = re.split(r"\W", annotation, maxsplit=1)[0]
    if annotation == "bool":
        yield source.replaced(node.value, f"not ({source.of(node.value)})", "returned")
    elif "None" in annotation:
        yield source.replaced(node.value, "None", "returned")
    elif kind in _EMPTY and source.of(node.value) != _EMPTY[kind]:
        yield source.replaced(node.value, _EMPTY[kind], "returned")


BY_NODE: dict[type, Callable[..., Iterator[Edit]]] = {
    ast.Compare: compare, ast.BoolOp: boolean, ast.UnaryOp: negation, ast.If: condition, ast.IfExp: condition,
    ast.While: condition, ast.BinOp: arithmetic, ast.Constant: constant, ast.Call: call, ast.Subscript: subscript,
    ast.Dict: mapping, ast.ExceptHandler: handler,
}  # fmt: skip
