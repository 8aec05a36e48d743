"""The folder of a comparison: report.md with all tables, variants.json with all numbers, and the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from protea_ray.comparison.measured_variants import MeasuredVariants
from protea_ray.evaluate.tables.shown import ShownTable


def write_comparison_report(
    folder: Path, found: MeasuredVariants, tables: Sequence[ShownTable], notes: Sequence[str] = ()
) -> list[Path]:  # fmt: skip
    """Write the report into `folder` and return what was written, report.md first."""
    raise NotImplementedError
