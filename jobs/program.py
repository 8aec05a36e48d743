"""A job as a program: its options from a function, an error of this package as one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from protea_ray.errors import ProteaRayError


def run_program(main: Callable[..., Any], arguments: Sequence[str] | None = None) -> None:
    """Run `main` with the options of the command line, or with `arguments`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app(arguments)
    except ProteaRayError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
