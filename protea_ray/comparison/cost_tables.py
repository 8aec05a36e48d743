"""The costs of variants as tables: one row for each variant, and one for each length of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from protea_ray.comparison.compared_variant import WINDOWS
from protea_ray.comparison.cost_process import WARM_UP
from protea_ray.comparison.variant_cost import CostExponents, CostRow, cost_exponents
from protea_ray.comparison.variant_verdicts import cost_ratio
from protea_ray.evaluate.tables.shown import ShownTable

_CLOCKS = {
    "cpu": "CPU seconds of one thread, in a fresh process for each length; memory: the most that was resident",
    "cuda": "seconds between two events on the GPU, in a fresh process for each length; memory: the most allocated",
}


@dataclass(frozen=True, repr=False)
class CostTable(ShownTable):
    """One row for each variant: how its time and memory grow, and what the longest measured protein took."""

    costs: tuple[CostRow, ...]
    exponents: tuple[CostExponents, ...]

    @classmethod
    def make(cls, costs: tuple[CostRow, ...]) -> CostTable:
        """Fit the exponents of every variant."""
        return cls(costs, tuple(cost_exponents(costs)))

    @property
    def title(self) -> str:
        """What the table shows."""
        return "Cost by variant"

    def columns(self) -> list[str]:
        """Names of the columns."""
        return ["variant", "time ~ L^", "memory ~ L^", "longest", "seconds", "MB", f"time / {WINDOWS}",
                f"whole memory / {WINDOWS}"]  # fmt: skip

    def rows(self) -> list[list[str]]:
        """A row for each variant."""
        return [self._row(one) for one in self.exponents]

    def _row(self, grows: CostExponents) -> list[str]:
        measured = [row for row in self.costs if row.variant == grows.variant and row.seconds is not None]
        last = max(measured, key=lambda row: row.length, default=None)
        ratio = cost_ratio(self.costs, grows.variant)
        return [
            grows.variant, str(grows.seconds or "-"), str(grows.memory or "-"),
            *((f"{last.length:,}", _seconds(last.seconds), _megabytes(last.peak_bytes)) if last else ("-", "-", "-")),
            *((f"{ratio.seconds:.2g}", f"{ratio.memory:.2g}") if ratio else ("-", "-")),
        ]  # fmt: skip

    def facts(self) -> list[str]:
        """What the numbers mean."""
        clocks = [_CLOCKS[device] for device in dict.fromkeys(row.device for row in self.costs) if device in _CLOCKS]
        points = {one.points for grows in self.exponents for one in (grows.seconds, grows.memory) if one}
        fitted = f" ({' or '.join(map(str, sorted(points)))} of them)" if points else ""
        lacking = [[row for row in self.costs if row.variant == one.variant and row.why] for one in self.exponents]
        return [
            *clocks,
            f"exponents: least squares in logarithms over the upper half of the lengths{fitted}, ± standard error; "
            f"memory above that of the loaded model after a protein of {WARM_UP} residues",
            f"last columns: at the longest length that the variant and {WINDOWS} were both measured at",
            *(_left_out(rows) for rows in lacking if rows),
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {"title": self.title, "exponents": [asdict(one) for one in self.exponents]}


@dataclass(frozen=True, repr=False)
class CostByLength(ShownTable):
    """One row for each variant and length."""

    costs: tuple[CostRow, ...]

    @property
    def title(self) -> str:
        """What the table shows."""
        return "Cost by length"

    def columns(self) -> list[str]:
        """Names of the columns."""
        return ["variant", "residues", "seconds", "MB", "process, MB", "predicted seconds", "predicted MB"]

    def rows(self) -> list[list[str]]:
        """A row for each variant and length."""
        return [
            [row.variant, f"{row.length:,}", _seconds(row.seconds), _megabytes(row.peak_bytes),
             _megabytes(row.whole_bytes), _seconds(row.predicted_seconds), _megabytes(row.predicted_bytes)]
            for row in self.costs
        ]  # fmt: skip

    def facts(self) -> list[str]:
        """What the numbers mean."""
        return ["MB: above the loaded model; process: the whole of it; predicted: by the exponents of shorter lengths"]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return {"title": self.title, "values": [asdict(row) for row in self.costs]}


def _left_out(rows: Sequence[CostRow]) -> str:
    """The lengths of one variant that were not measured, the shortest first: why, and what is expected of them."""
    first = rows[0]
    said = f"{first.variant} from {first.length:,} residues on: {first.why}"
    expected = [
        f"{_seconds(row.predicted_seconds)} s and {_megabytes(row.predicted_bytes)} MB at {row.length:,}"
        for row in rows
        if row.predicted_seconds is not None
    ]
    return f"{said}; expected are {', '.join(expected)}" if expected else said


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:,.0f}" if value >= 100e6 else f"{value / 1e6:.3g}"
