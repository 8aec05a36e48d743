"""Lines with a verdict, written to disk after every one, so that a run that dies keeps what it found.

| verdict | |
|---|---|
| ok | the value is within its tolerance, or has none and is only told |
| missed | measured, and outside its tolerance |
| failed | an error instead of a value |
| not run | something that it needs is not here (the message says what), or the part's time was spent |
"""

from __future__ import annotations

import gc
import json
import math
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Verdict = Literal["ok", "missed", "failed", "not run"]
BAD: tuple[Verdict, ...] = ("missed", "failed")
LINE_SECONDS = 120.0  # one line may take; what hangs must not use up the time of the others
_MESSAGE = 400  # characters of an error in the table; the traceback is in the JSON


class NotHereError(Exception):
    """What a line needs is not on this machine; the text says what."""


@dataclass(frozen=True)
class Measured:
    """What one line found. It is right at `tolerance` and below, or above it with `at_least`; None judges nothing.

    `baseline` is the same measurement of what one would use without this package, in the same run.
    """

    value: float | None
    tolerance: float | None = None
    baseline: float | None = None
    at_least: bool = False
    message: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """ok or missed; a value that is no number misses whatever the tolerance is."""
        if self.value is None:
            return "ok"
        if math.isnan(self.value):
            return "missed"
        if self.tolerance is None:
            return "ok"
        within = self.value >= self.tolerance if self.at_least else self.value <= self.tolerance
        return "ok" if within else "missed"


@dataclass(frozen=True)
class Line:
    """One row of the report; `more` has the figures that have no column."""

    part: str
    line: str
    value: float | None
    baseline: float | None
    tolerance: float | None
    verdict: Verdict
    seconds: float
    message: str = ""
    at_least: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


Work = Callable[[], Measured | Mapping[str, Measured]]


class AcceptanceReport:
    """The lines of one run and `machine`, what it ran on; `out`/acceptance.json is rewritten after every line."""

    def __init__(self, out: Path, machine: Mapping[str, Any], say: Callable[[str], object] = print) -> None:
        self.out, self.machine, self.lines = out, dict(machine), list[Line]()
        self._say = say
        self._deadline = math.inf
        out.mkdir(parents=True, exist_ok=True)
        self.write()

    def start(self, seconds: float, adding: bool = False) -> None:
        """Begin a part that may take `seconds`: a line that would begin later is not run.

        `adding` gives the seconds beside what the part before has left.
        """
        self._deadline = (max(self._deadline, time.monotonic() - seconds) if adding else time.monotonic()) + seconds

    def run(self, part: str, name: str, work: Work, limit: float = LINE_SECONDS) -> bool:
        """Add the line or lines of `work`, whatever happens in its `limit` of seconds; returns whether it was done."""
        started = time.monotonic()
        if started > self._deadline:
            self._add(Line(part, name, None, None, None, "not run", 0.0, "the time of this part was spent"))
            return False
        try:
            with time_limit(limit):
                found = work()
            lines = self._measured(part, name, found, time.monotonic() - started)
        except NotHereError as error:
            lines = [self._without(part, name, "not run", str(error), started)]
        except Exception as error:
            lines = [self._without(part, name, "failed", f"{type(error).__name__}: {error}", started)]
        free_memory()
        for line in lines:
            self._add(line)
        return all(line.verdict in ("ok", "missed") for line in lines)

    def not_run(self, part: str, name: str, why: str) -> None:
        """Add a line that was not tried."""
        self._add(Line(part, name, None, None, None, "not run", 0.0, why))

    def failed(self, part: str, name: str, error: Exception) -> None:
        """Add a line for an error that is being handled."""
        self._add(self._without(part, name, "failed", f"{type(error).__name__}: {error}", time.monotonic()))

    def _measured(self, part: str, name: str, found: Any, seconds: float) -> list[Line]:
        several = found if isinstance(found, Mapping) else {"": found}
        return [
            Line(
                part, f"{name}, {more}" if more else name, m.value, m.baseline, m.tolerance, m.verdict,
                round(seconds / len(several), 2), m.message, m.at_least, m.more,
            )
            for more, m in several.items()
        ]  # fmt: skip

    def _without(self, part: str, name: str, verdict: Verdict, text: str, started: float) -> Line:
        more = {"traceback": traceback.format_exc()[-4000:]} if verdict == "failed" else {}
        took = round(time.monotonic() - started, 2)
        return Line(part, name, None, None, None, verdict, took, " ".join(text.split())[:_MESSAGE], more=more)

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        self._say(f"{line.verdict:<8}{line.part}: {line.line}: {worded(line)}")
        self.write()

    @property
    def exit_code(self) -> int:
        """0 when nothing missed or failed, else 1."""
        return int(any(line.verdict in BAD for line in self.lines))

    def write(self) -> None:
        """Rewrite acceptance.json and acceptance.md."""
        found = {"machine": self.machine, "exit_code": self.exit_code, "lines": [asdict(line) for line in self.lines]}
        _replace(self.out / "acceptance.json", json.dumps(found, indent=1, default=str) + "\n")
        _replace(self.out / "acceptance.md", markdown(self.machine, self.lines))


def worded(line: Line) -> str:
    """Value, bound, baseline and message of a line in words."""
    parts = [] if line.value is None else [figure(line.value)]
    if line.tolerance is not None:
        parts.append(f"({'at least' if line.at_least else 'at most'} {figure(line.tolerance)})")
    if line.baseline is not None:
        parts.append(f"baseline {figure(line.baseline)}")
    return " ".join([*parts, line.message, f"[{line.seconds:.1f} s]"])


def figure(value: float) -> str:
    """A number as a person reads it: thousands with commas, small ones by exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.2e}"


def markdown(machine: Mapping[str, Any], lines: Sequence[Line]) -> str:
    """The report as a page: the machine, how many lines of each verdict, a table for each part."""
    counts = {v: sum(line.verdict == v for line in lines) for v in ("ok", "missed", "failed", "not run")}
    text = ["# Acceptance", "", ", ".join(f"{n} {v}" for v, n in counts.items()), "", "| | |", "|---|---|"]
    text += [f"| {name} | {_cell(value)} |" for name, value in machine.items()]
    for part in dict.fromkeys(line.part for line in lines):
        text += [
            "",
            f"## {part}",
            "",
            "| line | value | bound | baseline | verdict | s | |",
            "|---|---|---|---|---|---|---|",
        ]
        text += [_row(line) for line in lines if line.part == part]
    return "\n".join(text) + "\n"


def _row(line: Line) -> str:
    bound = "" if line.tolerance is None else f"{'≥' if line.at_least else '≤'} {figure(line.tolerance)}"
    numbers = ["" if x is None else figure(x) for x in (line.value, line.baseline)]
    verdict = f"**{line.verdict}**" if line.verdict in BAD else line.verdict
    cells = [line.line, numbers[0], bound, numbers[1], verdict, f"{line.seconds:.1f}", line.message]
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "/")


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(path.suffix + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def free_memory() -> None:
    """Give back what the last line held on the device."""
    gc.collect()
    import torch

    if torch.cuda.is_available():
        try:
            torch.cuda.empty_cache()
        except RuntimeError:
            return  # an error of a kernel of the last line, which that line has told


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after `seconds`, where this is the main thread and nobody else set an alarm."""
    free = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    if not free:
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds:.0f} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
