"""Progress of a training run for a person: step, loss, validation beside the baselines, rate, time left.

In a pipe it is one plain line for each report, which comes at least every ten seconds; in a terminal a bar is redrawn
in place and validations stay above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from protea_ray.cluster.notebook_display import notebook_line
from protea_ray.cluster.phases import Loudness, Phase, own_stderr, repeated, write_line
from protea_ray.display import clock_time

_BESIDE = ("unigram", "composition", "composition x both")  # baselines that fit a line


class TrainingLines:
    """Turns the reports of a run into text. `say` gets whole lines, `show` what replaces the line before it.

    `started` is the phase of a run that does not take steps yet; it is said by whoever holds it.
    """

    def __init__(
        self, say: Callable[[str], None], show: Callable[[str, float], None], started: Phase | None = None
    ) -> None:
        self._say, self._show = say, show
        self._phase = started or Phase(lambda _: None)
        self._baselines: dict[str, float] = {}
        self._validation: Mapping[str, Any] | None = None

    def phase(self, text: str) -> None:
        """Report what begins now and may take seconds; it ends with the next phase or the first report of steps."""
        self._phase.begin(text)

    def note(self, text: str) -> None:
        """Say one thing that happened."""
        self._phase.heard()
        self._say(text)

    def __call__(self, facts: Mapping[str, Any]) -> None:
        """Take a report of the run, a mapping with `kind`."""
        self._phase.heard()
        if facts["kind"] in ("progress", "validation"):
            self._phase.begin(None)
        match facts["kind"]:
            case "baselines":
                self._baselines = dict(facts["nats"])
                self._say(f"baselines in nats: {_listed(self._baselines)}")
            case "validation":
                before, self._validation = self._validation, facts
                if before is None or before["loss_20"] != facts["loss_20"]:  # a small side is the whole side at once
                    self._say(f"step {facts['step']:,}: {self._validated()}")
            case "progress":
                self._show(self.line(facts), facts["step"] / facts["steps"])
            case "note":
                self._say(facts["text"])
            case _:
                pass  # kinds that are for files

    def line(self, facts: Mapping[str, Any]) -> str:
        """One report in one line."""
        validated = "" if self._validation is None else f", {self._validated()}"
        loss = f"loss {facts['loss']:.3f}" if facts.get("objective", "loss") == "loss" else _small(facts)
        return (
            f"step {facts['step']:,} of {facts['steps']:,}: {loss}{validated}, "
            f"{facts['tokens_per_second']:,.0f} tokens/s, {clock_time(facts['seconds_left'])} left"
        )

    def _validated(self) -> str:
        """The last validation and, beside it, what needs no model."""
        found = self._validation or {}
        known = {"exact attention": found["loss_20_exact"]} if "loss_20_exact" in found else {}
        beside = _listed(known | {name: nats for name, nats in self._baselines.items() if name in _BESIDE})
        return f"validation {found['loss_20']:.3f} \N{PLUS-MINUS SIGN} {found['standard_error']:.3f}" + (
            f" ({beside})" if beside else ""
        )


@contextmanager
def training_lines(loudness: Loudness = "normal") -> Iterator[TrainingLines]:
    """A bar where standard error is a terminal, lines elsewhere; standard output stays free for results."""
    with own_stderr() as stream:
        console = Console(file=stream)
        if loudness == "quiet":
            yield TrainingLines(lambda _: None, lambda text, _: None)
        elif (show := notebook_line()) is not None:
            say = partial(write_line, stream=stream)
            phase = Phase(say)
            with repeated(phase.look):
                yield TrainingLines(say, lambda text, _: show(text), phase)
        elif console.is_terminal and not console.is_dumb_terminal:
            with _bar(console) as lines:
                yield lines
        else:
            say = partial(write_line, stream=stream)
            phase = Phase(say)
            with repeated(phase.look):
                yield TrainingLines(say, lambda text, _: say(text), phase)


@contextmanager
def _bar(console: Console) -> Iterator[TrainingLines]:
    """One live line: the phase of a run that starts, then its steps."""
    bar = Progress(
        BarColumn(20), TextColumn("{task.description}"), console=console, transient=True, redirect_stdout=False
    )
    with bar as progress:
        task = progress.add_task("", total=1.0, visible=False)
        phase = Phase(lambda _: None)

        def look() -> None:
            if (line := phase.line()) is not None:
                progress.update(task, visible=True, description=line)

        with repeated(look):
            yield TrainingLines(
                lambda text: progress.console.print(text, highlight=False, markup=False),
                lambda text, done: progress.update(task, visible=True, completed=done, description=text),
                phase,
            )


def _small(facts: Mapping[str, Any]) -> str:
    """The loss of a step by another name, with as many digits as a small number needs."""
    return f"{facts['objective']} {facts['loss']:.5f}"


def _listed(baselines: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {nats:.3f}" for name, nats in baselines.items())
