"""What typer raises for a wrong command line.

Its classes are those of the click that typer brings inside itself, in a module that is not public and may move; the
public `typer.BadParameter` says where it is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from typer._click.exceptions import MissingParameter, NoArgsIsHelpError, NoSuchOption, UsageError
else:
    _of_click = import_module(typer.BadParameter.__module__)
    UsageError = _of_click.UsageError
    MissingParameter = _of_click.MissingParameter
    NoArgsIsHelpError = _of_click.NoArgsIsHelpError
    NoSuchOption = _of_click.NoSuchOption

__all__ = ["MissingParameter", "NoArgsIsHelpError", "NoSuchOption", "UsageError"]
