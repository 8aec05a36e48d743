"""Whether a script can start workers: each of them runs the script again, up to `if __name__ == "__main__":`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import FrameType

from protea_ray.errors import ConfigError


def require_main_guard() -> None:
    """Raise ConfigError where the running script reaches this call in a statement that every worker would run again.

    Python would tell so from each worker, in a page of tracebacks. An interactive session has no file and is not run
    again.
    """
    path = getattr(sys.modules["__main__"], "__file__", None)
    line = _line_of_script(sys._getframe(), vars(sys.modules["__main__"]))
    if path is None or line is None:
        return
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):  # a program that is no file of Python, as a zipped one
        return
    if not any(_is_guard(node) and node.lineno <= line <= (node.end_lineno or line) for node in tree.body):
        raise ConfigError(f"{path}:{line} starts worker processes, and each of them runs this script again: put what "
                          'the script does under `if __name__ == "__main__":`, or use loader(0)',
                          where="workers")  # fmt: skip


def _line_of_script(frame: FrameType | None, names: dict[str, object]) -> int | None:
    """The line of the main script, outside of its functions, that is being executed; None where there is none."""
    while frame is not None:
        if frame.f_globals is names and frame.f_code.co_name == "<module>":
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
