"""Say what a run is at while nothing of it comes back: Ray starts, inputs are read, a checkpoint is opened.

Such a call blocks the main thread for seconds or minutes, so a thread of its own speaks: what is going on and for how
long, again after every ten seconds in which nothing else was said. It writes to a copy of standard error, because
standard error itself leads nowhere while Ray starts (`cluster.connect`). Nothing here imports Ray: the first words come
before that.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TextIO

from protea_ray.display import clock_time

Loudness = Literal["quiet", "normal", "verbose"]

SAID_EVERY_SECONDS = 10.0
SAID_AFTER_SECONDS = 1.0  # of a phase; what is over sooner needs no line of a log
_LOOK_SECONDS = 0.5


class Phase:
    """What is going on, since when, and when anything was said last.

    >>> now = [0.0]
    >>> phase = Phase(print, lambda: now[0])
    >>> phase.begin("reading proteins.fasta")
    reading proteins.fasta ...
    >>> phase.begin("starting Ray")
    >>> now[0] = 1.0
    >>> phase.look()
    starting Ray ...
    >>> now[0] = 11.0
    >>> phase.look()
    starting Ray: 0:11 so far
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._text: str | None = None
        self._since = self._heard = clock()
        self._said = self._spoke = False  # of this phase, of any

    def begin(self, text: str | None) -> None:
        """Take what begins, and say so when it is the first; None: nothing is going on any more."""
        self._text, self._since, self._said = text, self._clock(), False
        if text is not None and not self._spoke:
            self._announce(text)

    def heard(self) -> None:
        """Something else was said: the next ten seconds count from now."""
        self._heard = self._clock()

    def look(self) -> None:
        """Say what is going on when it lasts, and once more when nothing was said for ten seconds."""
        text, now = self._text, self._clock()
        if text is None:
            return
        if not self._said and now - self._since >= SAID_AFTER_SECONDS:
            self._announce(text)
        elif self._said and now - self._heard >= SAID_EVERY_SECONDS:
            self.heard()
            self._say(f"{text}: {clock_time(now - self._since)} so far")

    def _announce(self, text: str) -> None:
        self._said = self._spoke = True
        self.heard()
        self._say(f"{text} ...")

    def line(self) -> str | None:
        """What is going on and for how long; None for nothing."""
        return None if self._text is None else f"{self._text}  {clock_time(self._clock() - self._since)}"


@contextmanager
def repeated(look: Callable[[], None], seconds: float = _LOOK_SECONDS) -> Iterator[None]:
    """Call `look` every `seconds` from a thread while the block runs; it is not called after the block's end."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(seconds):
            look()

    thread = threading.Thread(target=run, name="protea-ray-phases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=1.0)


@contextmanager
def own_stderr() -> Iterator[TextIO]:
    """A stream to where standard error led when the block began, whatever file descriptor 2 is pointed to meanwhile.

    Python's own `sys.stderr` where that is another stream, such as a notebook's or a test's; nowhere when it is closed.
    """
    stream = sys.stderr
    if stream is None:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            yield nowhere
        return
    try:
        copy = os.dup(2) if stream.fileno() == 2 else None
    except (OSError, ValueError, io.UnsupportedOperation):
        copy = None
    if copy is None:
        yield stream
        return
    own = os.fdopen(copy, "w", encoding=stream.encoding, errors="backslashreplace")
    try:
        yield own
    finally:
        with suppress(OSError):  # its reader is gone, and with it those who would be told
            own.close()


def write_line(text: str, stream: TextIO | None = None) -> None:
    """Print a line on `stream`, else standard error; a reader that is gone must not end a run of hours."""
    with suppress(OSError, ValueError):
        print(text, file=stream if stream is not None else sys.stderr, flush=True)
