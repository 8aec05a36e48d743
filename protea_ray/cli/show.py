"""The console that reports print to."""

from __future__ import annotations

from rich.console import Console

WIDE = 160  # columns where there is no terminal to ask: 80 would cut the names of spaces in logs


def wide_console() -> Console:
    """Standard output, as wide as the terminal, without colouring of numbers."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)
