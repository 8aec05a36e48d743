"""The report of an evaluation: all tables as Markdown and JSON, pictures of three, and the rows as Parquet.

Everything is made from rows of the table `evaluations`, so it can be made again at any time, of any of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.display import markdown_table, printable
from protea_ray.evaluate.plots import INSTALL, draw_layers, draw_lengths, draw_normalised
from protea_ray.evaluate.tables.differences import DifferenceTable, differences
from protea_ray.evaluate.tables.estimates import Estimates, InputFacts, TaskFacts
from protea_ray.evaluate.tables.layers import LayerTable, layer_table
from protea_ray.evaluate.tables.lengths import LengthTable, length_table
from protea_ray.evaluate.tables.normalised import NormalisedTable, normalised_table
from protea_ray.evaluate.tables.scores import ScoreTable, score_table
from protea_ray.evaluate.tables.shown import ShownTable
from protea_ray.pictures.style import drawable

ROWS, TABLES, PAGE = "results.parquet", "results.json", "report.md"
PROBES, LENGTHS, LAYERS = "probes.png", "lengths.png", "layers.png"
NOT_DRAWN = f"no pictures: {INSTALL} installs matplotlib; the same command draws them then, and computes nothing again"


@dataclass(frozen=True)
class EvaluationTables:
    """All tables of some results; normalised scores, lengths and layers once for each probe."""

    found: Estimates
    scores: ScoreTable
    normalised: tuple[NormalisedTable, ...]
    lengths: tuple[LengthTable, ...]
    layers: tuple[LayerTable, ...]
    differences: DifferenceTable

    @classmethod
    def make(cls, results: pa.Table, baseline: str | None = None) -> EvaluationTables:
        """Make them from rows of the schema EVALUATIONS; raises ConfigError for a baseline that is not there."""
        found = Estimates.read(results)
        return cls(
            found,
            score_table(found),
            tuple(normalised_table(found, probe) for probe in found.probes),
            tuple(length_table(found, probe, baseline) for probe in found.probes),
            tuple(layer_table(found, probe) for probe in found.probes),
            differences(found, baseline),
        )

    def of(self, probes: Sequence[str]) -> Iterator[ShownTable]:
        """Those that have rows, in the order of a report; of those that are about one probe, the ones of `probes`."""
        of_one_probe = (*self.normalised, *self.lengths, *self.layers)
        every = (self.scores, *(table for table in of_one_probe if table.probe in probes), self.differences)
        return (table for table in every if table.rows())

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {
            "tasks": [_task(task) for task in self.found.tasks],
            "inputs": [_input(given) for given in self.found.inputs],
            "scores": self.scores.to_json(),
            "normalised": [table.to_json() for table in self.normalised],
            "lengths": [table.to_json() for table in self.lengths],
            "layers": [table.to_json() for table in self.layers],
            "differences": self.differences.to_json(),
        }


def write_report(results: pa.Table, notes: Sequence[str], folder: Path) -> list[Path]:
    """Write the report of rows of the schema EVALUATIONS below `folder`, and return what was written.

    results.parquet has every row but its resamples, which stay in the store: 1,000 of them are 4 kB a row, the rest of
    a row is less than a tenth of that. Without matplotlib there are no pictures, and report.md says so. A picture of an
    earlier report that this one has nothing for is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = EvaluationTables.make(results)
    pq.write_table(results.drop_columns(["resampled"]), folder / ROWS, compression="zstd")
    plain = {"notes": list(notes), **tables.to_json()}
    (folder / TABLES).write_text(json.dumps(plain, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    pictures = list(_pictures(tables, folder))
    (folder / PAGE).write_text(_page(tables, notes, pictures), encoding="utf-8")
    return [folder / PAGE, folder / TABLES, folder / ROWS, *(folder / name for name in pictures)]


def _pictures(tables: EvaluationTables, folder: Path) -> Iterator[str]:
    """Draw what there is to draw; yields the names of the files."""
    for name in (PROBES, LENGTHS, LAYERS):
        (folder / name).unlink(missing_ok=True)
    if not drawable() or not tables.found.probes:
        return
    if draw_normalised(tables.normalised, folder / PROBES):
        yield PROBES
    if draw_lengths(tables.lengths[0], folder / LENGTHS):
        yield LENGTHS
    if draw_layers(tables.layers[0], folder / LAYERS):
        yield LAYERS


def _page(tables: EvaluationTables, notes: Sequence[str], pictures: Sequence[str]) -> str:
    """report.md."""
    found = tables.found
    shown = [f"![{name.removesuffix('.png')}]({name})" for name in pictures] or ([] if drawable() else [NOT_DRAWN])
    sections = [
        "# Evaluation of frozen vectors",
        "\n".join(f"* {printable(note)}" for note in notes),
        "\n\n".join(shown),
        *(table.to_markdown() for table in tables.of(found.probes)),
        f"## Tasks\n\n{_facts_table([_task(task) for task in found.tasks])}",
        f"## Inputs\n\n{_facts_table([_input(given) for given in found.inputs])}",
    ]
    return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"


def _facts_table(rows: Sequence[dict[str, Any]]) -> str:
    """Records of the same fields as Markdown, a recipe as JSON."""
    columns = list(rows[0]) if rows else ["none"]
    return markdown_table(columns, [[_written(row[column]) for column in columns] for row in rows])


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return f"`{json.dumps(value, sort_keys=True)}`" if value else ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def _task(task: TaskFacts) -> dict[str, Any]:
    return {"task": task.name, "kind": task.kind, "metric": task.metric, "split": task.split, "train": task.train,
            "task_digest": task.digest, "protocol": task.protocol}  # fmt: skip


def _input(given: InputFacts) -> dict[str, Any]:
    return {"input": given.name, "control": given.control, "space": given.space, "version": given.version,
            "pooling": given.pooling, "width": given.width, "model": given.model,
            "recipe": dict(given.recipe)}  # fmt: skip
