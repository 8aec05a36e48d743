"""Repeating what an object store, or another writer, may fail for a moment.

Lance's own retries are over after 3 attempts, in about 4 s; an object store that slows its clients down needs longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

PAUSES = (0.0, 0.2, 1.0, 3.0)  # seconds before each attempt


def attempts() -> Iterator[None]:
    """Yield once for each attempt, after its pause.

    For the one loop that `with_retries` does not fit: a commit, which looks a transaction up before it is repeated.
    """
    for pause in PAUSES:
        time.sleep(pause)
        yield


def is_os_error(error: Exception) -> bool:
    """Whether an error is an OSError: what Lance raises for a lost race and for most outages."""
    return isinstance(error, OSError)


def with_retries(
    operation: Callable[[], T],
    *,
    retry_on: Callable[[Exception], bool] = is_os_error,
    give_up: Callable[[Exception], Exception] | None = None,
) -> T:
    """Call `operation` until it returns, at most once for each of PAUSES; returns what it returned.

    An error for which `retry_on` is false is raised at once. After the last attempt `give_up` makes the error to raise
    from the last one; without it, the last one itself is raised.
    """
    last: Exception | None = None
    for _ in attempts():
        try:
            return operation()
        except Exception as error:
            if not retry_on(error):
                raise
            last = error
    assert last is not None, "PAUSES is not empty"
    if give_up is None:
        raise last
    raise give_up(last) from last
