"""The tables of a comparison for people: nearness to exact attention, masked loss by length, loss beside a cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from protea_ray.comparison.compared_rows import EdgeRow, FidelityRow, LossRow, PooledRow
from protea_ray.evaluate.tables.shown import ShownTable
from protea_ray.query.drift import NEIGHBOURS

_LOSS = (
    "each protein's mean over its masked residues, mean ± standard error over the proteins of up to so many residues; "
    "the same residues are masked for every variant"
)


@dataclass(frozen=True, repr=False)
class ComparedTable(ShownTable):
    """A table of rows of text, with the `values` that they show and the sentences that say what they mean."""

    heading: str
    names: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    meaning: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def title(self) -> str:
        """What the table shows."""
        return self.heading

    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.names)

    def rows(self) -> list[list[str]]:
        """The rows of text."""
        return [list(line) for line in self.lines]

    def facts(self) -> list[str]:
        """What the numbers mean."""
        return list(self.meaning)

    def to_json(self) -> dict[str, Any]:
        """Plain values only, numbers in full."""
        return {"title": self.heading, "values": [asdict(value) for value in self.values]}


def fidelity_table(layers: Sequence[FidelityRow], pooled: Sequence[PooledRow]) -> ComparedTable:
    """One row for each variant and bin: the last layer, the layer that is farthest away, and pooled vectors."""
    lines: list[tuple[str, ...]] = []
    for row in pooled:
        own = [one for one in layers if (one.variant, one.bin) == (row.variant, row.bin)]
        last = next(one for one in own if one.layer == 0)
        worst = max(own, key=lambda one: one.relative_error or 0.0)
        lines.append(
            (row.variant, f"{row.bin:,}", f"{row.proteins:,}", _short(last.relative_error),
             f"{_short(worst.relative_error)} ({worst.layer})", _cosine(last.centred_cosine),
             _cosine(row.pooled_cosine), _cosine(row.lowest), _percent(row.neighbours_kept))
        )  # fmt: skip
    names = ("variant", "up to residues", "proteins", "relative error", "worst (layer)", "cosine", "pooled cosine",
             "lowest", "neighbours kept")  # fmt: skip
    meaning = (
        "against exact attention on proteins that one window holds; relative error and cosine of residues in the last "
        "layer (0), means over residues; cosines are centred, on the mean of the exact states and of the sample; "
        f"neighbours: share of the {NEIGHBOURS} nearest in the whole sample that stay the same{_by_chance(pooled)}",
    )
    return ComparedTable("Nearness to exact attention", names, tuple(lines), meaning, (*layers, *pooled))


def _by_chance(pooled: Sequence[PooledRow]) -> str:
    """What unrelated vectors share of their neighbours, as a clause; empty where no neighbours were looked for."""
    sample = sum(row.proteins for row in pooled if row.variant == pooled[0].variant)
    if not any(row.neighbours_kept is not None for row in pooled):
        return ""
    return f", {NEIGHBOURS / (sample - 1):.1%} by chance"


def loss_table(rows: Sequence[LossRow]) -> ComparedTable:
    """One row for each variant: its masked loss in each bin."""
    return _by_bin("Masked loss in nats", rows, (_LOSS,), lambda row: _plus_minus(row.nats, row.standard_error, ""))


def difference_table(rows: Sequence[LossRow], reference: str) -> ComparedTable:
    """One row for each other variant: its masked loss minus that of the reference in each bin."""
    meaning = f"paired, over the residues that both predict; {_LOSS}; below 0 is better than {reference}, the default"
    others = [row for row in rows if row.variant != reference]
    heading = f"Masked loss minus that of {reference}, in nats"
    return _by_bin(heading, others, (meaning,), _difference)


def edge_table(rows: Sequence[EdgeRow]) -> ComparedTable:
    """One row for each variant that cuts, and distance from a cut."""
    lines = [
        (row.variant, f"{row.first}-{row.last}" if row.last is not None else f"{row.first} and more",
         f"{row.proteins:,}", f"{row.targets:,}", _plus_minus(row.nats, row.standard_error, ""))
        for row in rows
    ]  # fmt: skip
    meaning = (
        "masked loss by residues from the nearest cut of the window that a residue was predicted in; the ends of a "
        "protein are no cuts; mean ± standard error over proteins",
    )
    names = ("variant", "residues from a cut", "proteins", "masked residues", "nats")
    return ComparedTable("Masked loss beside a cut", names, tuple(lines), meaning, tuple(rows))


def _by_bin(heading: str, rows: Sequence[LossRow], meaning: tuple[str, ...], cell: Any) -> ComparedTable:
    bins = sorted({row.bin for row in rows})
    found = {(row.variant, row.bin): cell(row) for row in rows}
    lines = [
        (variant, *(found.get((variant, bin), "-") for bin in bins))
        for variant in dict.fromkeys(row.variant for row in rows)
    ]
    names = ("variant", *(f"up to {bin:,}" for bin in bins))
    counts = ", ".join(f"up to {bin:,}: {max(r.proteins for r in rows if r.bin == bin):,}" for bin in bins)
    said = (*meaning, f"proteins: {counts}") if rows else meaning
    return ComparedTable(heading, names, tuple(lines), said, tuple(rows))


def _difference(row: LossRow) -> str:
    """A difference; where it is 0 without any error, the variant computes the same for such proteins."""
    return (
        "same" if row.difference == 0 and not row.difference_se else _plus_minus(row.difference, row.difference_se, "+")
    )


def _plus_minus(value: float | None, error: float | None, sign: str) -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.3f}" + ("" if error is None else f" ± {error:.3f}")


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _cosine(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
