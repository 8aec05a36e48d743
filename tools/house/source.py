"""Static figures of a tree: sizes, imports, names with two homes, import cycles. Read with `ast`, nothing is imported.

Definitions. A *file* is a .py file under protea_ray/ that is not empty; `files_with_empty` counts the others too. A
*code line* is not blank, not a comment and not part of a docstring. An *import line* is a line of an import
statement, of a statement in parentheses every line. A *function's length* is all its lines from `def` to its end,
docstring included; decorators do not count. An *import cycle* is a largest set of two or more modules
of which each imports every other one, directly or through others; imports inside functions count, those under
`if TYPE_CHECKING` do not.
"""

from __future__ import annotations

import ast
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """One parsed file. `name` is its dotted name, `code` the numbers of its code lines."""

    name: str
    path: Path
    lines: tuple[str, ...]
    tree: ast.Module
    code: frozenset[int]

    @property
    def is_package(self) -> bool:
        """Whether it is an `__init__.py`."""
        return self.path.name == "__init__.py"


def read_modules(root: Path, package: str = "protea_ray") -> list[Module]:
    """Every module of `package` under `root`, sorted by path."""
    return [_module(root, path) for path in sorted((root / package).rglob("*.py"))]


def _module(root: Path, path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    lines, tree = tuple(text.splitlines()), ast.parse(text)
    parts = path.relative_to(root).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    documented = {line for node in ast.walk(tree) for line in _docstring_lines(node)}
    code = {n for n, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")}
    return Module(name, path, lines, tree, frozenset(code - documented))


def _docstring_lines(node: ast.AST) -> range:
    if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
        return range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    return range(0)


def figures(modules: Sequence[Module]) -> dict[str, int | float | str]:
    """All static figures by name; the values are counts, lines, or percent."""
    written = [m for m in modules if m.lines]
    nonblank = sum(1 for m in written for line in m.lines if line.strip())
    imports = sum(len(import_lines(m)) for m in written)
    classes = homes((node.name, m.name) for m in written for node in ast.walk(m.tree) if isinstance(node, ast.ClassDef))
    names = homes((m.path.stem, m.name) for m in written if not m.is_package)
    functions = {f"{m.name}.{f.name}": n for m in written for f, n in function_lengths(m)}
    longest = max(functions, key=lambda name: functions[name])
    return {
        "files_with_empty": len(modules),
        "files": len(written),
        "lines": sum(len(m.lines) for m in written),
        "code_lines": sum(len(m.code) for m in written),
        "import_lines": imports,
        "import_percent": round(100 * imports / nonblank, 1),
        "classes": len(classes),
        "class_names_twice": _twice(classes),
        "modules": len(names),
        "module_names_twice": _twice(names),
        "import_cycles": len(cycles(import_graph(modules))),
        **_spread("file", [len(m.lines) for m in written]),
        **_spread("function", list(functions.values())),
        "longest_function": f"{longest} ({functions[longest]})",
    }


def import_lines(module: Module) -> set[int]:
    """Numbers of the lines that belong to import statements."""
    statements = [n for n in ast.walk(module.tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    return {line for n in statements for line in range(n.lineno, (n.end_lineno or n.lineno) + 1)}


def homes(pairs: Iterator[tuple[str, str]]) -> dict[str, set[str]]:
    """The modules in which each name is defined, from (name, module) pairs."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, module in pairs:
        found[name].add(module)
    return found


def _twice(found: Mapping[str, set[str]]) -> str:
    """How many names have two homes or more, and which."""
    names = sorted(name for name, modules in found.items() if len(modules) > 1)
    return f"{len(names)}: {' '.join(names)}" if names else "0"


def function_lengths(module: Module) -> Iterator[tuple[Function, int]]:
    """Every function and method with its length in lines."""
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1


def _spread(what: str, lengths: list[int]) -> dict[str, int | float]:
    ordered = sorted(lengths)
    p90 = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    return {f"{what}_median": statistics.median(ordered), f"{what}_p90": p90, f"{what}_max": ordered[-1]}


def import_graph(modules: Sequence[Module]) -> dict[str, set[str]]:
    """For each module the modules of the package that it imports by name; a parent package is not counted as one."""
    known = {m.name for m in modules}
    return {m.name: {name for name in _imported(m, known) if name in known and name != m.name} for m in modules}


def _imported(module: Module, known: set[str]) -> Iterator[str]:
    for node in _executed(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    kept = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _executed(node)


def cycles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The sets of two or more modules that reach each other."""
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    return [set(group) for group in sorted(groups, key=sorted)]


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen
