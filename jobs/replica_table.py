"""The table of `jobs.replica`: every row by aspect and length, its difference to windows, and what that can tell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from protea_ray.config.length_groups import group_in_words
from protea_ray.evaluate.tables.estimates import ALL, Estimate, Estimates, TaskFacts, difference_facts

BASELINE = "S windows"
COLUMNS = ("task", "metric", "residues", "proteins", "row", "value", "interval", "difference", "its interval")
PAPER = """The paper gives three numbers for its largest model, quantised and trained on (T33, CAFA5, Fmax over all
lengths): 0.549 for biological process, 0.747 for cellular component, 0.783 for molecular function. Its tables by
length, learning rate, batch, rank and code were not found."""
LIMITS = """What this can tell: whether, for this model and these labels, local attention and more training help
proteins past the trained length more than windows do, and which of the two it is: L against L exact is local
attention alone, L exact against S windows is more training alone. What it cannot tell: anything of a larger model,
of other labels, or of the paper's values, which are of CAFA5's proteins and terms and of classifiers that were
searched for; a shorter model sees a protein of 600 residues as a long one, and its long proteins are not those of a
model of full length. Differences whose interval holds 0 are not told apart."""


@dataclass(frozen=True)
class Outcome:
    """What was done: `scale` in residues, the standard model, `meanings` by row, and its space or why it has none."""

    scale: Mapping[str, int]
    standard: str
    meanings: Mapping[str, str]
    spaces: Mapping[str, str]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class Cell:
    """One row on the proteins of one task and group of lengths; `difference` to BASELINE, None of that itself."""

    task: TaskFacts
    subset: str
    row: str
    probe: str
    reached: Estimate
    difference: Estimate | None

    def cells(self) -> list[str]:
        """Its row of text, under COLUMNS."""
        group = group_in_words(self.subset) or "all"
        beside = ["", ""] if self.difference is None else self.difference.signed_cells()
        return [self.task.name, self.task.metric, group, f"{self.reached.count:,}", self.row, *self.reached.cells(),
                *beside]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        names = {"task": self.task.name, "metric": self.task.metric, "subset": self.subset, "row": self.row}
        return {**names, "probe": self.probe, **self.reached.to_json(), **difference_facts(self.difference)}


def replica_cells(results: pa.Table, spaces: Mapping[str, str], probe: str) -> Iterator[Cell]:
    """All cells of one probe: task by task, all lengths first, then the groups; rows as in `spaces`, by name."""
    found = Estimates.read(results)
    by_space = {given.space: given for given in found.subjects}
    base = by_space.get(spaces.get(BASELINE, ""))
    for task in found.tasks:
        for subset in (ALL, *found.length_groups(task)):
            against = found.find(task, base, probe, subset=subset) if base is not None else None
            for row, space in spaces.items():
                reached = found.find(task, by_space[space], probe, subset=subset) if space in by_space else None
                if reached is not None:
                    apart = None if row == BASELINE or against is None else reached.minus(against)
                    yield Cell(task, subset, row, probe, reached, apart)


def write_outcome(out: Path, results: pa.Table, outcome: Outcome) -> str:
    """Write replica.md and replica.json below `out`; returns the text of the first."""
    probes = Estimates.read(results).probes
    cells = [cell for probe in probes for cell in replica_cells(results, outcome.spaces, probe)]
    text = "\n".join(_page(outcome, cells, probes))
    (out / "replica.md").write_text(text, encoding="utf-8")
    facts = {**asdict(outcome), "values": [cell.to_json() for cell in cells]}
    (out / "replica.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return text


def _page(outcome: Outcome, cells: list[Cell], probes: tuple[str, ...]) -> Iterator[str]:
    """The lines of replica.md."""
    scale = outcome.scale
    yield "# A replica of arXiv 2501.07747\n"
    yield (f"Standard model {outcome.standard}, trained on {scale['trained']:,} residues; trained on with "
           f"{scale['adapted']:,} residues and {scale['window']:,} to either side of a query.\n")  # fmt: skip
    yield from _lines(("row", "what it is"), [list(pair) for pair in outcome.meanings.items()])
    for name, why in outcome.left_out.items():
        yield f"{name} was not made: {' '.join(why.split())}\n"
    for probe in probes:
        yield f"## {probe} probe\n"
        yield f"value: mean ± standard deviation over seeds; difference: to {BASELINE}, paired; intervals: 95 %.\n"
        yield from _lines(COLUMNS, [cell.cells() for cell in cells if cell.probe == probe])
    yield "## What this can tell, and what not\n"
    yield f"{PAPER}\n\n{LIMITS}\n"


def _lines(columns: tuple[str, ...], rows: list[list[str]]) -> Iterator[str]:
    """A table in Markdown, with an empty line behind it."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""
