"""What a run says while it goes on: its phase while it starts, then what is done, how fast, and the time left.

The time left is predicted from cost and not from the number of proteins: the last proteins of a sort group are its
longest. Before the first unit is back it is the prediction itself, start-up of the actors included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from protea_ray.cluster.phases import Loudness, Phase, own_stderr, repeated, write_line
from protea_ray.display import clock_time, printable

LINE_EVERY_SECONDS = 30.0
BAR_COLUMNS = 20
_LEAST_BAR = 5  # columns; a shorter bar tells nothing
_THOUSANDS = 10_000  # residues/s from which they are given in thousands


class Reporter(Protocol):
    """Where a run reports what it does."""

    def phase(self, text: str | None) -> None:
        """Report what begins now and may take seconds; None: nothing is going on, and results may be printed."""
        ...

    def note(self, text: str) -> None:
        """Report one thing that happened, in one line of text."""
        ...

    def detail(self, text: str) -> None:
        """Report how the engine works, for those who asked for it."""
        ...

    def warn(self, text: str) -> None:
        """Report what a person should know, however quiet the run is to be."""
        ...

    def start(self, proteins: int, residues: int, seconds: float, rejects: int = 0, foretold: float = 0.0) -> None:
        """Report that embedding begins.

        `seconds` is the predicted compute of all actors together, `foretold` the time until the last unit is back, with
        the loading of models; `rejects` counts the records that are rejected already, by the reader or by an earlier
        run.
        """
        ...

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Report a finished unit; `seconds`: its predicted cost, `took`: what its forward passes took."""
        ...


class Meter:
    """Counts, rate and time left, for both displays."""

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
        self._clock, self._started = clock, clock()
        self._foretold = foretold

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

    @property
    def elapsed(self) -> float:
        """Seconds since the first unit began; before one is back, since the actors began to load their model."""
        return max(self._clock() - self._started, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Time left in seconds; 0 as well where the first unit takes longer than foretold."""
        if not self.done_seconds:
            return max(self._foretold - self.elapsed, 0.0)
        return self.elapsed * (1 / self.fraction - 1)

    def words(self) -> list[tuple[int, str]]:
        """Share of the work, counts, rejects, rate and time left, each with its rank: 0 matters most."""
        left = self.seconds_left
        share = f"{self.fraction:.0%}".replace("%", " %")
        counts = [(0, share), (2, f"{self.done_proteins:,}/{self.proteins:,} proteins")]
        rejected = [(3, f"{self.rejects:,} rejected")] if self.rejects else []
        if not self.done_seconds:
            return [*counts, *rejected, (1, f"about {clock_time(left)} left" if left else "longer than foretold")]
        return [*counts, *rejected, (4, _rate(self.done_residues / self.elapsed)), (1, f"{clock_time(left)} left")]

    def line(self, width: int | None = None) -> str:
        """The words in one line; with a width those that fit into so many columns, of those that matter most."""
        words = self.words()
        while width is not None and len(words) > 1 and cell_len(_joined(words)) > width:
            words.remove(max(words))
        return _joined(words)


def _joined(words: list[tuple[int, str]]) -> str:
    return "  ".join(word for _, word in words)


def _rate(residues: float) -> str:
    return f"{residues / 1000:,.0f}k residues/s" if residues >= _THOUSANDS else f"{residues:,.0f} residues/s"


class LineReporter:
    """For logs: a line for each phase and each ten seconds of it, one each 30 seconds of embedding, one at its end.

    Lines that come while nothing is reported need `look` to be called (`reporter` does).
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        loudness: Loudness = "normal",
        stream: TextIO | None = None,
    ) -> None:
        self._clock, self._loudness, self._stream = clock, loudness, stream
        self._meter, self._last = Meter(0, 0, 0.0, clock), clock()
        self._phase = Phase(self._say, clock)

    def phase(self, text: str | None) -> None:
        """Print what begins."""
        self._phase.begin(text)

    def note(self, text: str) -> None:
        """Print it, unless the run is quiet."""
        self._phase.heard()
        self._say(text)

    def detail(self, text: str) -> None:
        """Print it when the run is verbose."""
        if self._loudness == "verbose":
            self.note(text)

    def warn(self, text: str) -> None:
        """Print it."""
        self._phase.heard()
        write_line(printable_lines(text), self._stream)

    def start(self, proteins: int, residues: int, seconds: float, rejects: int = 0, foretold: float = 0.0) -> None:
        """Reset the meter."""
        self._meter = Meter(proteins, residues, seconds, self._clock, rejects, foretold)
        self._last = self._clock()

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Count, and print when it is time or everything is done."""
        self._phase.begin(None)
        self._meter.advance(proteins, residues, seconds, took, rejects)
        if self._meter.done_proteins == self._meter.proteins:
            self._told()
        else:
            self._tell_when_due()

    def look(self) -> None:
        """Print what is due although nothing was reported; called by a thread."""
        self._phase.look()
        if 0 < self._meter.done_proteins < self._meter.proteins:
            self._tell_when_due()

    def _tell_when_due(self) -> None:
        if self._clock() - self._last >= LINE_EVERY_SECONDS:
            self._told()

    def _told(self) -> None:
        self._last = self._clock()
        self.note(self._meter.line())

    def _say(self, text: str) -> None:
        if self._loudness != "quiet":
            write_line(printable_lines(text), self._stream)


class BarReporter:
    """For a terminal: one live line below everything that is said, the phase or a bar of the predicted cost."""

    def __init__(self, console: Console, loudness: Loudness = "normal") -> None:
        self._console, self._loudness = console, loudness
        self._meter: Meter | None = None
        self._phase = Phase(lambda _: None)
        # standard output is left alone: what is printed there must reach a file that it leads to
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
        )

    def phase(self, text: str | None) -> None:
        """Show what begins; None takes the live line away."""
        self._phase.begin(text)
        if text is None:
            self._meter = None
            self._live.stop()
        else:
            self._live.start(refresh=True)

    def note(self, text: str) -> None:
        """Print it above the live line."""
        self._console.print(printable_lines(text), highlight=False, markup=False)

    def detail(self, text: str) -> None:
        """Print it above the live line when the run is verbose."""
        if self._loudness == "verbose":
            self.note(text)

    warn = note

    def start(self, proteins: int, residues: int, seconds: float, rejects: int = 0, foretold: float = 0.0) -> None:
        """Show the bar."""
        self._meter = Meter(proteins, residues, seconds, time.monotonic, rejects, foretold)
        self._live.start(refresh=True)

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Move the bar."""
        if self._meter is not None:
            self._phase.begin(None)
            self._meter.advance(proteins, residues, seconds, took, rejects)

    def render(self) -> Table | Text:
        """The live line at this moment, never wider than the terminal."""
        phase, width = self._phase.line(), self._console.width - 1
        if self._meter is None:
            return Text(phase or "", overflow="ellipsis", no_wrap=True)
        words = self._meter.line(width) + (f"  {phase}" if phase else "")
        room = min(BAR_COLUMNS, width - cell_len(words) - 2)
        line = Table.grid(padding=(0, 2))
        shown = Text(words, overflow="ellipsis", no_wrap=True)
        if room >= _LEAST_BAR:
            line.add_row(ProgressBar(total=1.0, completed=self._meter.fraction, width=room), shown)
        else:
            line.add_row(shown)
        return line


def printable_lines(text: str) -> str:
    """The lines of a text with control characters replaced: names of files may come from anybody."""
    return "\n".join(printable(line) for line in text.split("\n"))


@contextmanager
def reporter(loudness: Loudness = "normal") -> Iterator[Reporter]:
    """A live line where standard error is a terminal, plain lines elsewhere; standard output stays free for results."""
    with own_stderr() as stream:
        console = Console(file=stream)
        if loudness == "quiet":
            yield LineReporter(loudness=loudness, stream=stream)
        elif console.is_terminal and not console.is_dumb_terminal:
            live = BarReporter(console, loudness)
            try:
                yield live
            finally:
                live.phase(None)
        else:
            lines = LineReporter(loudness=loudness, stream=stream)
            with repeated(lines.look):
                yield lines
