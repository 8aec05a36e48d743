"""Telling people that what they read are vectors of a model that was never trained, once for each space.

Such a space is good for trying things out, and its neighbours, labels and plots look like any other's. So whoever opens
one is told: a Python program by a warning that points at its own line, a person at the command line by one line on
standard error.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line loads this module before it has looked at its arguments
    from protea_ray.store.location import Location
    from protea_ray.store.spaces import SpaceInfo

_told: set[tuple[str, str]] = set()
_NOT_THE_CALLER = ("protea_ray.", "contextlib")


class UntrainedSpaceWarning(UserWarning):
    """A space whose vectors carry no biology was opened."""


def tell_untrained(location: Location, info: SpaceInfo) -> None:
    """Warn, once a process and space, where the model of a space was never trained."""
    if info.trained or (location.uri, info.name) in _told:
        return
    _told.add((location.uri, info.name))
    warnings.warn(_sentence(location, info), UntrainedSpaceWarning, stacklevel=_caller())


def _sentence(location: Location, info: SpaceInfo) -> str:
    """What is wrong with the space, and which trained one there is instead."""
    from protea_ray.store.spaces import list_spaces

    said = f"{info.name} is of {info.model}, which was never trained: its vectors are random and carry no biology."
    trained = [space.name for space in list_spaces(location) if space.trained]
    if not trained:
        return f"{said} `protea-ray embed` with another --model fills a space that does."
    return (
        f"{said} Trained here: {', '.join(trained)}; name one as space, or "
        f"`protea-ray alias {location.uri} current {trained[0]}`."
    )


def _caller() -> int:
    """The stack level, as `warnings.warn` counts it for our caller, of the first frame outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith(_NOT_THE_CALLER):
        level, frame = level + 1, frame.f_back
    return level


@contextmanager
def told_on_standard_error() -> Iterator[None]:
    """Say it in plain lines on standard error, anew for each command; other warnings stay as they are."""
    _told.clear()
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: object) -> None:
            if issubclass(category, UntrainedSpaceWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                shown(message, category, *where)  # pyright: ignore[reportArgumentType]

        warnings.simplefilter("always", UntrainedSpaceWarning)
        warnings.showwarning = show  # pyright: ignore[reportAttributeAccessIssue]
        yield
