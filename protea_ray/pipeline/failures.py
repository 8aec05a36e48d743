"""Errors of tasks and actors, as they were raised there.

What a worker raises comes to the driver inside a RayTaskError whose text is the worker's traceback. A person is told
what went wrong, not where in which process.

Ctrl-C and SIGTERM end a run the same way: what is finished is committed, and the person is told what to do.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ray.exceptions import RayError

from protea_ray.errors import ProteaRayError
from protea_ray.store.object_store_errors import is_outage, outage_as_store_error, outage_error


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in the main thread while this is open (`ray job stop` sends it, 3 s before
    SIGKILL)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


_ADVICE = "\nFailed to apply UDF transform"  # Ray Data's, on how to retry; it appends that to everybody's message


@contextmanager
def own_errors() -> Iterator[None]:
    """Raise the ProteaRayError that a worker raised, instead of Ray's account of it; anything else goes through.

    A store that did not answer is one wherever it was asked.
    """
    with outage_as_store_error():
        try:
            yield
        except RayError as error:
            own = _own(error)
            if own is None:
                raise
            own.args = tuple(a.partition(_ADVICE)[0] if isinstance(a, str) else a for a in own.args)
            raise own from error


def _own(error: BaseException | None) -> ProteaRayError | None:
    """The innermost cause that is ours. A RayTaskError may pretend to be its cause's class; it is not what is meant."""
    while error is not None:
        if isinstance(error, RayError):
            pass
        elif isinstance(error, ProteaRayError):
            return error
        elif is_outage(error):
            return outage_error(error)
        error = getattr(error, "cause", None) or error.__cause__
    return None
