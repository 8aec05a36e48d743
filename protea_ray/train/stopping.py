"""Why a run should stop early: a signal, Ctrl-C, or its time is up. A step that is under way is finished first."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from protea_ray.display import first_of

STOP_FILE = ".stop"  # below OUT: how the process that started workers asks them, with the reason as its text


class Stopping:
    """Asked once a step. `after` is in seconds from now, None for no limit; `out` may hold a file that asks to stop."""

    def __init__(self, out: Path, after: float | None = None) -> None:
        self._file = out / STOP_FILE
        self._end = None if after is None else time.monotonic() + after
        self._after = after
        self._signals: list[str] = []

    def wanted(self) -> bool:
        """Whether this process was asked to stop."""
        over = self._end is not None and time.monotonic() >= self._end
        return bool(self._signals) or over or self._file.exists()

    @property
    def reason(self) -> str:
        """Why, in words; another rank's wish when it was not this process that was asked."""
        if self._signals:
            return first_of(self._signals)
        if self._file.exists():
            return self._file.read_text(encoding="utf-8")
        return f"{self._after:g} seconds are over" if self.wanted() else "another worker was asked to stop"

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Inside, SIGTERM and SIGINT ask to stop; a second one ends the process as it always did."""
        with stop_signals(self._signals.append):
            yield


@contextmanager
def stop_signals(note: Callable[[str], object]) -> Iterator[None]:
    """Inside, the first SIGTERM or SIGINT calls `note` with its name; a second one ends the process as it always did.

    Outside of the main thread, which alone may take signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def noted(number: int, frame: FrameType | None) -> None:
        note(signal.Signals(number).name)
        signal.signal(number, before[number])

    before: dict[int, Any] = {number: signal.signal(number, noted) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
