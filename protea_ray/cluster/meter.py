"""Counts, rate and time left of a piece of work, in words that fit a line.

The time left follows the rate of the last quarter of the time that the work has taken: work that starts slowly is not
foretold from its start, and one that becomes slower is noticed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from rich.cells import cell_len

from protea_ray.display import clock_time

_RECENT = 0.25  # of the time so far, of which the rate is taken
_KEPT = 64  # moments that are remembered, evenly over that time
_THOUSANDS = 10_000  # from which a rate is given in thousands
Words = list[tuple[int, str]]  # each with its rank: 0 matters most


class Counted(Protocol):
    """What a display shows of a piece of work."""

    @property
    def fraction(self) -> float | None:
        """Share that is done, 0 to 1; None where it is not known how much there is."""
        ...

    @property
    def begun(self) -> bool:
        """Whether anything came back."""
        ...

    @property
    def finished(self) -> bool:
        """Whether everything came back."""
        ...

    def words(self) -> Words:
        """What is to be said, each with its rank."""
        ...

    def line(self, width: int | None = None) -> str:
        """The words in one line; with a width those that fit, of those that matter most."""
        return fitting(self.words(), width)


class TimeLeft:
    """Foretells when work is done from the moments at which shares of it were done."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._began = clock, clock()
        self._moments: deque[tuple[float, float]] = deque([(self._began, 0.0)])

    def restart(self, at: float) -> None:
        """Count from another moment."""
        self._began = at
        self._moments = deque([(at, 0.0)])

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return max(self._clock() - self._began, 1e-9)

    def reached(self, fraction: float) -> None:
        """Remember that this share is done now, unless a moment just before is remembered."""
        now = self._clock()
        if len(self._moments) > 1 and now - self._moments[-2][0] < self.elapsed * _RECENT / _KEPT:
            self._moments.pop()
        self._moments.append((now, fraction))
        while len(self._moments) > 2 and self._moments[1][0] <= now - self.elapsed * _RECENT:
            self._moments.popleft()

    def seconds(self) -> float | None:
        """Seconds that the rest takes at the recent rate; None before anything is done."""
        (since, before), (last, fraction) = self._moments[0], self._moments[-1]
        if fraction <= before or last <= since:
            return None
        left = (1 - fraction) * (last - since) / (fraction - before)
        return max(left - (self._clock() - last), 0.0)


class Meter(Counted):
    """Counts, rate and time left of embedding: the share is that of the predicted cost."""

    def __init__(
        self,
        proteins: int,
        residues: int,
        seconds: float,
        clock: Callable[[], float],
        rejects: int = 0,
        foretold: float = 0.0,
    ) -> None:
        self.proteins, self.residues, self.seconds = proteins, residues, max(seconds, 1e-9)
        self.done_proteins = self.done_residues = 0
        self.rejects = rejects
        self.done_seconds = 0.0
        self._clock, self._left = clock, TimeLeft(clock)
        self._foretold = foretold

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Count one unit. Time runs from the start of the first one, not from the loading of models."""
        if not self.done_proteins:
            self._left.restart(self._clock() - took)
        self.done_proteins += proteins
        self.done_residues += residues
        self.done_seconds += seconds
        self.rejects += rejects
        self._left.reached(self.fraction)

    @property
    def fraction(self) -> float:
        """Share of the predicted cost that is done, 0 to 1."""
        return min(1.0, self.done_seconds / self.seconds)

    @property
    def begun(self) -> bool:
        """Whether a unit came back."""
        return self.done_proteins > 0

    @property
    def finished(self) -> bool:
        """Whether every protein came back."""
        return self.done_proteins >= self.proteins

    @property
    def elapsed(self) -> float:
        """Seconds since the first unit began; before one is back, since the actors began to load their model."""
        return self._left.elapsed

    @property
    def seconds_left(self) -> float:
        """Seconds until the last unit is back; before the first what was foretold, 0 when that is over."""
        if self.begun:
            return self._left.seconds() or 0.0
        return max(self._foretold - self.elapsed, 0.0)

    def words(self) -> Words:
        """Share of the work, counts, rejects, rate and time left, each with its rank."""
        counts: Words = [(0, _percent(self.fraction)), (2, f"{self.done_proteins:,}/{self.proteins:,} proteins")]
        rejected: Words = [(3, f"{self.rejects:,} rejected")] if self.rejects else []
        left = self.seconds_left
        if not self.begun:
            return [*counts, *rejected, (1, f"about {clock_time(left)} left" if left else "longer than foretold")]
        rate = in_thousands(self.done_residues / self.elapsed, "residues")
        return [*counts, *rejected, (4, rate), (1, f"{clock_time(left)} left")]


class WorkMeter(Counted):
    """Counts of any work: `unit` in the plural, `total` None where it is not known; `seconds_left` may be given."""

    def __init__(self, text: str, unit: str, total: int | None, clock: Callable[[], float]) -> None:
        self.text, self.unit, self.total = text, unit, total
        self.done = 0
        self._left = TimeLeft(clock)
        self._foretold: float | None = None

    def advance(self, count: int, seconds_left: float | None = None) -> None:
        """Count `count` more; `seconds_left`: a better prediction than the rate gives."""
        self.done += count
        self._foretold = seconds_left
        if self.fraction is not None:
            self._left.reached(self.fraction)

    @property
    def fraction(self) -> float | None:
        """Share that is done, 0 to 1; None where it is not known how much there is."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def begun(self) -> bool:
        """Whether anything was counted."""
        return self.done > 0

    @property
    def finished(self) -> bool:
        """Whether everything was counted."""
        return self.total is not None and self.done >= self.total

    def words(self) -> Words:
        """What is done, the share, counts, rate and time left, each with its rank."""
        counts = f"{self.done:,} {self.unit}" if self.total is None else f"{self.done:,}/{self.total:,} {self.unit}"
        rate = (4, in_thousands(self.done / self._left.elapsed, self.unit))
        if self.fraction is None:
            return [(3, self.text), (0, counts), rate]
        share = (0, _percent(self.fraction))
        left = self._foretold if self._foretold is not None else self._left.seconds()
        foretold = [] if left is None or self.finished else [(1, f"{clock_time(left)} left")]
        return [(3, self.text), share, (2, counts), rate, *foretold]


def fitting(words: Words, width: int | None) -> str:
    """The words in one line of at most `width` columns: those that matter least go first, one stays."""
    left = list(words)
    while width is not None and len(left) > 1 and cell_len(_joined(left)) > width:
        left.remove(max(left))
    return _joined(left)


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _joined(words: Words) -> str:
    return "  ".join(word for _, word in words)


def in_thousands(rate: float, unit: str) -> str:
    """A rate in words.

    >>> in_thousands(39_400.0, "residues"), in_thousands(812.0, "rows"), in_thousands(0.25, "steps")
    ('39k residues/s', '812 rows/s', '0.25 steps/s')
    """
    if rate >= _THOUSANDS:
        return f"{rate / 1000:,.0f}k {unit}/s"
    return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.2g} {unit}/s"
