"""All rows of a comparison together: what advice, pictures and the report are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protea_ray.comparison.compared_rows import FidelityRow, LossRow, PooledRow
from protea_ray.comparison.variant_cost import CostRow


@dataclass(frozen=True)
class MeasuredVariants:
    """What was measured of the variants of `model`; a block that did not run has no rows.

    `trained_length` is in residues, None where positions are relative. `fields` are the fields of a recipe of every
    variant that was asked for, in that order, so that advice can say how to ask for one, and of which there is no row.
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
        """Every variant: those of `fields` in their order, then any other that has a row."""
        rows = (*self.loss, *self.pooled, *self.fidelity, *self.cost)
        return tuple(dict.fromkeys([*self.fields, *(row.variant for row in rows)]))
