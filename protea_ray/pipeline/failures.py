"""How a run ends early: by an error of a worker, or by Ctrl-C or SIGTERM.

An error that a worker raises reaches the driver inside a RayTaskError whose text is the worker's traceback. The driver
raises the worker's own error instead: a person is told what went wrong, not where in which process. Ctrl-C and
SIGTERM do the same thing: finished units are committed, and the person is told what to do next.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ray.exceptions import RayError

from protea_ray.cluster.connect import hush
from protea_ray.errors import ProteaRayError
from protea_ray.store.object_store_errors import is_store_failure, outage_as_store_error, store_failure


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt in the main thread; `ray job stop` sends it 3 s before SIGKILL.

    Ray has nothing more to say then: it prints a line on endless retries for every actor that the end of a run stops.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    hush()
    raise KeyboardInterrupt


_ADVICE = "\nFailed to apply UDF transform"  # Ray Data appends its advice on retries to every message


@contextmanager
def own_errors() -> Iterator[None]:
    """Raise the ProteaRayError that a worker raised in place of Ray's error around it; other errors pass unchanged.

    What Lance says of a store that it cannot read or write becomes StoreError too, in driver and worker alike.
    """
    with outage_as_store_error():
        try:
            yield
        except RayError as error:
            own = _package_error(error)
            if own is None:
                raise
            own.args = tuple(a.partition(_ADVICE)[0] if isinstance(a, str) else a for a in own.args)
            raise own from error


def _package_error(error: BaseException | None) -> ProteaRayError | None:
    """The first error of this package among the causes; a RayTaskError that claims its cause's class is passed over."""
    while error is not None:
        if isinstance(error, RayError):
            pass
        elif isinstance(error, ProteaRayError):
            return error
        elif is_store_failure(error):
            return store_failure(error)
        error = getattr(error, "cause", None) or error.__cause__
    return None
