"""A line of a notebook's output that is replaced in place, instead of a new line every time."""

from __future__ import annotations

import sys
from collections.abc import Callable


def notebook_line() -> Callable[[str], None] | None:
    """A function that shows a text in place of the one before it; None outside a notebook's kernel.

    Nothing of IPython is imported: where a kernel runs this code, it is there already.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    handle = None
    shown = ""

    def show(text: str) -> None:
        nonlocal handle, shown
        if text == shown:
            return
        shown = text
        content = {"text/plain": text}
        if handle is None:
            handle = display(content, raw=True, display_id=True)
        else:
            handle.update(content, raw=True)

    return show
