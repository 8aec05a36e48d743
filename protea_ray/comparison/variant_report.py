"""The folder of a comparison: report.md with the advice and all tables, variants.json with all numbers, pictures.

variants.json has the rows of `drift_file` too, so that it may be copied beside a checkpoint as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from protea_ray.comparison.advice import advice
from protea_ray.comparison.cost_tables import CostByLength, CostTable
from protea_ray.comparison.drift_file import drift_json
from protea_ray.comparison.measured_variants import MeasuredVariants
from protea_ray.comparison.variant_plots import draw_costs, draw_fidelity, draw_losses
from protea_ray.display import printable
from protea_ray.evaluate.plots import INSTALL
from protea_ray.evaluate.tables.shown import ShownTable
from protea_ray.models.measured_drift import MEASURED
from protea_ray.pictures.style import drawable

PAGE = "report.md"
PICTURES = {"fidelity.png": draw_fidelity, "loss.png": draw_losses, "cost.png": draw_costs}
NOT_DRAWN = f"No pictures: {INSTALL} installs matplotlib; the same command draws them then, and measures nothing again."


def write_comparison_report(
    folder: Path, found: MeasuredVariants, tables: Sequence[ShownTable], notes: Sequence[str] = ()
) -> list[Path]:  # fmt: skip
    """Write the report into `folder` and return what was written, report.md first.

    `tables` are those of fidelity and loss; the costs' tables are added here. Without matplotlib there are no pictures,
    and report.md says so. A picture of an earlier report that this one has nothing for is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [*tables, *cost_tables(found)]
    drawn = list(_pictures(found, folder))
    (folder / MEASURED).write_text(json.dumps(_numbers(found, shown, notes), indent=1) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(_page(found, shown, notes, drawn), encoding="utf-8")
    return [folder / PAGE, folder / MEASURED, *(folder / name for name in drawn)]


def cost_tables(found: MeasuredVariants) -> list[ShownTable]:
    """The table by variant, which a terminal shows, and that by length; none where no cost was measured."""
    return [CostTable.make(found.cost), CostByLength(found.cost)] if found.cost else []


def _numbers(found: MeasuredVariants, tables: Sequence[ShownTable], notes: Sequence[str]) -> dict[str, Any]:
    """variants.json: plain values only."""
    return {
        "model": found.model, "trained_length": found.trained_length, **drift_json(found), "advice": advice(found),
        "notes": list(notes), "variants": {name: dict(fields) for name, fields in found.fields.items()},
        "tables": [table.to_json() for table in tables],
    }  # fmt: skip


def _pictures(found: MeasuredVariants, folder: Path) -> Iterator[str]:
    """Draw what there is to draw; yields the names of the files."""
    for name, draw in PICTURES.items():
        (folder / name).unlink(missing_ok=True)
        if drawable() and draw(found, folder / name):
            yield name


def _page(
    found: MeasuredVariants, tables: Sequence[ShownTable], notes: Sequence[str], pictures: Sequence[str]
) -> str:  # fmt: skip
    """report.md."""
    shown = [f"![{name.removesuffix('.png')}]({name})" for name in pictures] or ([] if drawable() else [NOT_DRAWN])
    sections = [
        f"# Variants of {printable(found.model)}",
        printable(advice(found)),
        "\n".join(f"* {printable(note)}" for note in notes),
        "\n\n".join(shown),
        *(table.to_markdown() for table in tables),
    ]
    return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"
