"""Rows of a comparison that was never run, for the tests of what is made from rows."""

from __future__ import annotations

from protea_ray.comparison.compared_rows import FidelityRow, LossRow, PooledRow
from protea_ray.comparison.measured_variants import MeasuredVariants
from protea_ray.comparison.variant_cost import CostRow

TRAINED, PROTEINS, TARGETS = 1022, 50, 4000
SHORT, LONG = (512, 1022), (2048, 8192)


def losses(
    variant: str, *differences: float | None, error: float = 0.005, proteins: int = PROTEINS, targets: int = TARGETS,
    bins: tuple[int, ...] = (*SHORT, *LONG),
) -> tuple[LossRow, ...]:  # fmt: skip
    """A row for each bin; one difference stands for all of them. None: a row of the default."""
    each = differences * len(bins) if len(differences) == 1 else differences
    return tuple(
        LossRow(variant, bin, proteins, targets, 2.5 + (difference or 0.0), 0.03, difference,
                None if difference is None else error)
        for bin, difference in zip(bins, each, strict=True)
    )  # fmt: skip


def costs(variant: str, seconds: float, megabytes: float, exponent: float = 1.0) -> tuple[CostRow, ...]:
    """Rows at three lengths, these figures at the longest of them, memory linear above a process of 500 MB."""
    return tuple(
        CostRow(variant, length, "cpu", seconds * (length / 32_768) ** exponent, seconds, 500_000_000,
                round(megabytes * 1e6 * length / 32_768))
        for length in (8192, 16_384, 32_768)
    )  # fmt: skip


def pooled(variant: str, cosine: float, kept: float) -> tuple[PooledRow, ...]:
    """A row for each bin within the trained length."""
    return tuple(PooledRow(variant, bin, PROTEINS, cosine, cosine - 0.1, kept) for bin in SHORT)


def layers(variant: str, error: float, count: int = 7) -> tuple[FidelityRow, ...]:
    """A row for each layer and bin, the error growing from layer to layer."""
    return tuple(
        FidelityRow(variant, layer, bin, PROTEINS, error * (count - layer) / count, 1 - error * (count - layer) / count)
        for bin in SHORT
        for layer in range(count)
    )


def measured(*rows: tuple[object, ...], trained: int | None = TRAINED) -> MeasuredVariants:
    """A comparison of these rows, with rows of `windows` of its own."""
    every = [row for part in rows for row in part]
    kinds = {"fidelity": FidelityRow, "pooled": PooledRow, "loss": LossRow, "cost": CostRow}
    found = {name: tuple(row for row in every if isinstance(row, kind)) for name, kind in kinds.items()}
    default = losses("windows", None, bins=tuple(dict.fromkeys(row.bin for row in found["loss"])))  # type: ignore[attr-defined]
    found["loss"] = (*default, *found["loss"])
    if found["cost"]:
        found["cost"] = (*costs("windows", 40.0, 10.0), *found["cost"])
    return MeasuredVariants("small", trained, **found, fields={"local:512": {"attention": "local:512"}})  # type: ignore[arg-type]
