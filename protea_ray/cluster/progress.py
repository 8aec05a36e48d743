"""What a long command says while it goes on: its phase while it starts, then what is done, how fast, the time left.

Embedding foretells from cost and not from the number of proteins: the last proteins of a sort group are its longest.
Before the first unit is back it is the prediction itself, start-up of the actors included. All other work is counted in
its own units.
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

from protea_ray.cluster.meter import Counted, Meter, WorkMeter
from protea_ray.cluster.notebook_display import notebook_line
from protea_ray.cluster.phases import Loudness, Phase, own_stderr, repeated, write_line
from protea_ray.display import printable

LINE_EVERY_SECONDS = 30.0
BAR_COLUMNS = 20
NOTEBOOK_COLUMNS = 100
_LEAST_BAR = 5  # columns; a shorter bar tells nothing


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

    def work(self, text: str, unit: str, total: int | None = None) -> None:
        """Report that countable work begins: `unit` in the plural, `total` None where it is not known."""
        ...

    def worked(self, count: int, seconds_left: float | None = None) -> None:
        """Report `count` more of it; `seconds_left`: a better prediction than the rate gives."""
        ...


class _Display:
    """What all displays share: the phase that goes on, and the meter of what is counted."""

    def __init__(self, phase: Phase, clock: Callable[[], float]) -> None:
        self._phase, self._clock = phase, clock
        self._meter: Counted | None = None

    def phase(self, text: str | None) -> None:
        """Show what begins; counted work is over then, and embedding where nothing begins."""
        if text is None or isinstance(self._meter, WorkMeter):
            self._meter = None
        self._phase.begin(text)
        self._began()

    def start(self, proteins: int, residues: int, seconds: float, rejects: int = 0, foretold: float = 0.0) -> None:
        """Count units of embedding from now on."""
        self._meter = Meter(proteins, residues, seconds, self._clock, rejects, foretold)
        self._began()

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Count a unit."""
        if isinstance(self._meter, Meter):
            self._phase.begin(None)
            self._meter.advance(proteins, residues, seconds, took, rejects)
            self._came()

    def work(self, text: str, unit: str, total: int | None = None) -> None:
        """Show what begins as a phase, until something of it is done."""
        self.phase(text)
        self._meter = WorkMeter(text, unit, total, self._clock)
        self._began()

    def worked(self, count: int, seconds_left: float | None = None) -> None:
        """Count some of it."""
        if isinstance(self._meter, WorkMeter):
            self._phase.begin(None)
            self._meter.advance(count, seconds_left)
            self._came()

    def _began(self) -> None:
        """Something began, or nothing goes on any more."""

    def _came(self) -> None:
        """Something was counted."""


class LineReporter(_Display):
    """For logs: a line for each phase and each ten seconds of it, one each 30 seconds of embedding, one at its end.

    Lines that come while nothing is reported need `look` to be called (`reporter` does).
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        loudness: Loudness = "normal",
        stream: TextIO | None = None,
    ) -> None:
        self._loudness, self._stream = loudness, stream
        self._last = clock()
        super().__init__(Phase(self._say, clock), clock)

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

    def look(self) -> None:
        """Print what is due although nothing was reported; called by a thread."""
        self._phase.look()
        if self._meter and self._meter.begun and not self._meter.finished:
            self._tell_when_due()

    def _began(self) -> None:
        if self._meter and not self._meter.begun:
            self._last = self._clock()

    def _came(self) -> None:
        """Print when it is time, and when all proteins are back."""
        if isinstance(self._meter, Meter) and self._meter.finished:
            self._told()
        else:
            self._tell_when_due()

    def _tell_when_due(self) -> None:
        if self._clock() - self._last >= LINE_EVERY_SECONDS:
            self._told()

    def _told(self) -> None:
        self._last = self._clock()
        if self._meter:
            self.note(self._meter.line())

    def _say(self, text: str) -> None:
        if self._loudness != "quiet":
            write_line(printable_lines(text), self._stream)


class BarReporter(_Display):
    """For a terminal: one live line below everything that is said, the phase or a bar of the predicted cost."""

    def __init__(self, console: Console, loudness: Loudness = "normal") -> None:
        super().__init__(Phase(lambda _: None), time.monotonic)
        self._console, self._loudness = console, loudness
        # standard output is left alone: what is printed there must reach a file that it leads to
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
        )

    def note(self, text: str) -> None:
        """Print it above the live line."""
        self._console.print(printable_lines(text), highlight=False, markup=False)

    def detail(self, text: str) -> None:
        """Print it above the live line when the run is verbose."""
        if self._loudness == "verbose":
            self.note(text)

    warn = note

    def _began(self) -> None:
        """Show the live line, or take it away where nothing goes on."""
        if self._meter or self._phase.line() is not None:
            self._live.start(refresh=True)
        else:
            self._live.stop()

    def render(self) -> Table | Text:
        """The live line at this moment, never wider than the terminal."""
        phase, width = self._phase.line(), self._console.width - 1
        if self._meter is None or (phase and not self._meter.begun and isinstance(self._meter, WorkMeter)):
            return Text(phase or "", overflow="ellipsis", no_wrap=True)
        words = self._meter.line(width) + (f"  {phase}" if phase else "")
        room = min(BAR_COLUMNS, width - cell_len(words) - 2)
        line = Table.grid(padding=(0, 2))
        shown = Text(words, overflow="ellipsis", no_wrap=True)
        if room >= _LEAST_BAR and self._meter.fraction is not None:
            line.add_row(ProgressBar(total=1.0, completed=self._meter.fraction, width=room), shown)
        else:
            line.add_row(shown)
        return line


class NotebookReporter(_Display):
    """For a notebook: one line of the cell's output that is replaced in place; what is said goes to standard error."""

    def __init__(self, show: Callable[[str], None], stream: TextIO, loudness: Loudness = "normal") -> None:
        super().__init__(Phase(lambda _: None), time.monotonic)
        self._show, self._stream, self._loudness = show, stream, loudness

    def look(self) -> None:
        """Show the line as it is now; called by a thread."""
        self._show(self.text())

    def text(self) -> str:
        """The live line without a bar."""
        phase = self._phase.line()
        counted = self._meter.line(NOTEBOOK_COLUMNS) if self._meter and (self._meter.begun or not phase) else ""
        return "  ".join(words for words in (counted, phase) if words)

    def note(self, text: str) -> None:
        """Print it."""
        write_line(printable_lines(text), self._stream)

    def detail(self, text: str) -> None:
        """Print it when the run is verbose."""
        if self._loudness == "verbose":
            self.note(text)

    warn = note


def printable_lines(text: str) -> str:
    """The lines of a text with control characters replaced: names of files may come from anybody."""
    return "\n".join(printable(line) for line in text.split("\n"))


class Silent:
    """A reporter of nothing, for callers that show no progress."""

    def phase(self, text: str | None) -> None:
        """Say nothing."""

    note = detail = warn = phase

    def start(self, proteins: int, residues: int, seconds: float, rejects: int = 0, foretold: float = 0.0) -> None:
        """Say nothing."""

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Say nothing."""

    def work(self, text: str, unit: str, total: int | None = None) -> None:
        """Say nothing."""

    def worked(self, count: int, seconds_left: float | None = None) -> None:
        """Say nothing."""


SILENT = Silent()


@contextmanager
def reporter(loudness: Loudness = "normal") -> Iterator[Reporter]:
    """A live line where standard error is a terminal, plain lines elsewhere; standard output stays free for results."""
    with own_stderr() as stream:
        console = Console(file=stream)
        if loudness == "quiet":
            yield LineReporter(loudness=loudness, stream=stream)
        elif (show := notebook_line()) is not None:
            yield from _in_a_notebook(show, stream, loudness)
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


def _in_a_notebook(show: Callable[[str], None], stream: TextIO, loudness: Loudness) -> Iterator[Reporter]:
    """One line that is replaced twice a second, and empty at the end."""
    live = NotebookReporter(show, stream, loudness)
    try:
        with repeated(live.look):
            yield live
    finally:
        show("")
