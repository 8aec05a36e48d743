"""What a person is told after Ctrl-C or SIGTERM."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

INTERRUPTED = 130  # what a shell reports for Ctrl-C
RERUN = "Stopped. What was finished is committed; it is safe to rerun the same command."


@contextmanager
def safe_to_rerun() -> Iterator[None]:
    """Turn an interrupt into the message and exit code 130; the command line library would only say "Aborted!"."""
    try:
        yield
    except KeyboardInterrupt:
        print(RERUN, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
