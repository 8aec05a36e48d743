"""All rows of a comparison together: what advice, pictures and the report are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protea_ray.comparison.cost import CostRow
from protea_ray.comparison.rows import FidelityRow, LossRow, PooledRow


@dataclass(frozen=True)
class MeasuredVariants:
    """What was measured of the variants of `model`; a block that did not run has no rows.

    `trained_length` is in residues, None where positions are relative. `fields` are the fields of a recipe by variant,
    so that advice can say how to ask for one.
    """

    model: str
    trained_length: int | None
    fidelity: tuple[FidelityRow, ...] = ()
    pooled: tuple[PooledRow, ...] = ()
    loss: tuple[LossRow, ...] = ()
    cost: tuple[CostRow, ...] = ()
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @property
    def names(self) -> tuple[str, ...]:
        """Every variant that has a row, in the order of the blocks' rows."""
        return tuple(dict.fromkeys(row.variant for row in (*self.pooled, *self.fidelity, *self.loss, *self.cost)))
