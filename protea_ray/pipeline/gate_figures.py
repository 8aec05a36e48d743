"""What a gate is asked and what it answers: a verified space that may get an alias, and figures beside those wanted.

Figures of tasks come from `evaluate`, which stands above this room: `reembed` is given a function that judges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from protea_ray.cluster.progress import Reporter
from protea_ray.config.run import RunOptions
from protea_ray.display import html_table, text_table
from protea_ray.store.location import Location

COLUMNS = ("figure", "condition", "wanted", "found", "95 % interval", "verdict")


@dataclass(frozen=True)
class Candidate:
    """A space that is filled and verified. `before` is the space that `alias` points to; None: to none, or to this."""

    location: Location
    space: str
    alias: str
    before: str | None
    options: RunOptions


@dataclass(frozen=True)
class GateFigure:
    """One condition. `wanted` is the least that passes, of `found`, or of `low` where the figure is a difference; of a
    loss the most, of `high`.

    `low` to `high` is the 95 % interval, None where there is none. `met` None: the condition does not apply; `why` says
    so, or why there is no figure, which fails, or what the figure was made of.
    """

    figure: str
    condition: str
    wanted: float
    found: float | None
    met: bool | None
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def verdict(self) -> str:
        """In words."""
        word = {True: "passed", False: "FAILED", None: "not applicable"}[self.met]
        return f"{word}: {self.why}" if self.why else word

    def cells(self) -> list[str]:
        """Its row of text, under COLUMNS. Four digits show by how little a figure may have missed."""
        found = "-" if self.found is None else f"{self.found:.4f}"
        interval = "-" if self.low is None or self.high is None else f"{self.low:.4f} to {self.high:.4f}"
        return [self.figure, self.condition, f"{self.wanted:.4f}", found, interval, self.verdict]


@dataclass(frozen=True, repr=False)
class GateResult:
    """All figures of one gate; the cells of its evaluations were computed now, or found in the store."""

    file: str
    figures: tuple[GateFigure, ...]
    notes: tuple[str, ...] = ()
    cells_computed: int = 0
    cells_found: int = 0

    @property
    def failed(self) -> tuple[GateFigure, ...]:
        """The conditions that are not met."""
        return tuple(figure for figure in self.figures if figure.met is False)

    @property
    def passed(self) -> bool:
        """Whether the alias may move."""
        return not self.failed

    def columns(self) -> list[str]:
        """Names of the columns of `rows`."""
        return list(COLUMNS)

    def rows(self) -> list[list[str]]:
        """A row of text for each condition, under `columns`."""
        return [figure.cells() for figure in self.figures]

    def sentence(self) -> str:
        """In one line: how many conditions hold, and which do not."""
        if self.passed:
            idle = sum(figure.met is None for figure in self.figures)
            rest = f", {idle} not applicable" if idle else ""
            return f"the gate {self.file} is passed: {len(self.figures) - idle} condition(s) met{rest}"
        names = "; ".join(f"{figure.figure} {figure.condition}" for figure in self.failed)
        failed = f"{len(self.failed)} of {len(self.figures)} condition(s) failed"
        return f"the gate {self.file} is not passed: {failed} ({names})"

    def __repr__(self) -> str:
        return f"{text_table(self.columns(), self.rows())}\n{self.sentence()}"

    def _repr_html_(self) -> str:
        return html_table(self.sentence(), self.columns(), self.rows())

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {**asdict(self), "passed": self.passed}


Gate = Callable[[Candidate, Reporter], GateResult]
