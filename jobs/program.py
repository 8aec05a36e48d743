"""A job as a program: its options from a function, an error of this package as one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.main import get_command

from protea_ray.cli.grammar import CheckedCommand
from protea_ray.cli.outcome import carry_out, forgiving_output


def run_program(main: Callable[..., Any], arguments: Sequence[str] | None = None) -> None:
    """Run `main` with the options of the command line, or with `arguments`; a failure ends the process with its code.

    Its help looks as that of `protea-ray` does.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(cls=CheckedCommand)(main)
    forgiving_output()
    if code := carry_out(get_command(app), arguments, f"python -m {_module(main)}"):
        sys.exit(code)


def _module(main: Callable[..., Any]) -> str:
    """The module's name, also where it is the one that Python was started with."""
    spec = getattr(sys.modules[main.__module__], "__spec__", None)
    return str(spec.name if spec is not None else main.__module__)
