"""Progress of a run: what is done, how fast, and the time left.

The time left is predicted from cost and not from the number of proteins: the last proteins of a sort group are its
longest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from protea_ray.display import clock_time

LINE_EVERY_SECONDS = 30.0


class Reporter(Protocol):
    """Where a run reports what it does."""

    def note(self, text: str) -> None:
        """Report one thing that happened, in one line of text."""
        ...

    def start(self, proteins: int, residues: int, seconds: float, rejects: int = 0) -> None:
        """Report that embedding begins.

        `seconds` is the predicted compute of all actors together; `rejects` counts the records that are rejected
        already, by the reader or by an earlier run.
        """
        ...

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Report a finished unit; `seconds`: its predicted cost, `took`: what its forward passes took."""
        ...


class Meter:
    """Counts, rate and time left, for both displays."""

    def __init__(
        self, proteins: int, residues: int, seconds: float, clock: Callable[[], float], rejects: int = 0
    ) -> None:
        self.proteins, self.residues, self.seconds = proteins, residues, max(seconds, 1e-9)
        self.done_proteins = self.done_residues = 0
        self.rejects = rejects
        self.done_seconds = 0.0
        self._clock, self._started = clock, clock()

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Count one unit. Time runs from the start of the first one, not from the loading of models."""
        if not self.done_proteins:
            self._started = self._clock() - took
        self.done_proteins += proteins
        self.done_residues += residues
        self.done_seconds += seconds
        self.rejects += rejects

    @property
    def fraction(self) -> float:
        """Share of the predicted cost that is done, 0 to 1."""
        return min(1.0, self.done_seconds / self.seconds)

    def line(self) -> str:
        """Counts, rate, time left and rejects in one line of text."""
        elapsed = max(self._clock() - self._started, 1e-9)
        left = "?" if not self.done_seconds else clock_time(elapsed * (1 / self.fraction - 1))
        return (
            f"{self.done_proteins:,} of {self.proteins:,} proteins, {self.fraction:4.0%} of the work, "
            f"{self.done_residues / elapsed:,.0f} residues/s, {left} left, {self.rejects:,} rejected"
        )


class LineReporter:
    """For logs: one line each 30 seconds, and one at the end of embedding."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._meter, self._last = clock, Meter(0, 0, 0.0, clock), clock()

    def note(self, text: str) -> None:
        """Print it."""
        print(text, file=sys.stderr, flush=True)

    def start(self, proteins: int, residues: int, seconds: float, rejects: int = 0) -> None:
        """Reset the meter."""
        self._meter, self._last = Meter(proteins, residues, seconds, self._clock, rejects), self._clock()

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Count, and print when it is time or everything is done."""
        self._meter.advance(proteins, residues, seconds, took, rejects)
        due = self._clock() - self._last >= LINE_EVERY_SECONDS
        if due or self._meter.done_proteins == self._meter.proteins:
            self._last = self._clock()
            self.note(self._meter.line())


class BarReporter:
    """For a terminal: a bar of the predicted cost."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._meter = progress, Meter(0, 0, 0.0, time.monotonic)
        self._task = progress.add_task("", total=1.0, visible=False)

    def note(self, text: str) -> None:
        """Print it above the bar."""
        self._progress.console.print(text, highlight=False, markup=False)

    def start(self, proteins: int, residues: int, seconds: float, rejects: int = 0) -> None:
        """Show the bar."""
        self._meter = Meter(proteins, residues, seconds, time.monotonic, rejects)
        self._progress.update(self._task, visible=True, description=self._meter.line())

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Move the bar."""
        self._meter.advance(proteins, residues, seconds, took, rejects)
        self._progress.update(self._task, completed=self._meter.fraction, description=self._meter.line())


@contextmanager
def reporter() -> Iterator[Reporter]:
    """A bar where standard error is a terminal, lines elsewhere; standard output stays free for results."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield LineReporter()
        return
    with Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True) as progress:
        yield BarReporter(progress)
