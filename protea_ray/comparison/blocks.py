"""The three blocks of a comparison: each of them variant by variant, found where it was finished before.

A variant that the model, the machine or an installed library cannot do is left out with the reason, and the others go
on: what a comparison is for is to see what can be used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from protea_ray.cluster.progress import Reporter
from protea_ray.comparison.compared_rows import FidelityRow, PooledRow
from protea_ray.comparison.compared_variant import UNCUT, ComparedVariant
from protea_ray.comparison.finished_parts import FinishedParts, rows_of, table_of
from protea_ray.comparison.protein_bins import DrawnProtein, ProteinBins
from protea_ray.comparison.variant_cost import CostRow, measure_cost
from protea_ray.comparison.variant_encoders import VariantEncoders
from protea_ray.errors import ProteaRayError

if TYPE_CHECKING:
    from protea_ray.comparison.fidelity import ExactStates

EXACT = ComparedVariant("exact", {"max_residues": UNCUT, "attention": "exact"})


@dataclass(frozen=True)
class LeftOut:
    """A variant that a block has no numbers of, in the bin `bin` or in none of them (None), and why."""

    block: str
    variant: str
    bin: int | None
    why: str

    def __str__(self) -> str:
        return grouped([self])[0]


def grouped(every: Sequence[LeftOut]) -> list[str]:
    """What is left out in words, variants and bins of one reason together."""
    names: dict[tuple[str, str], dict[str, list[int]]] = {}
    for one in every:
        bins = names.setdefault((one.block, one.why), {}).setdefault(one.variant, [])
        bins += [] if one.bin is None else [one.bin]
    return [
        f"{block} is left out of {', '.join(_with_bins(name, bins) for name, bins in of_it.items())}: {why}"
        for (block, why), of_it in names.items()
    ]


def _with_bins(name: str, bins: Sequence[int]) -> str:
    return name + (f" (up to {' and '.join(f'{bin:,}' for bin in bins)} residues)" if bins else "")


@dataclass
class Blocks:
    """What all blocks share; `default` is the variant that losses are compared with.

    `left_out` and `notes`, what numbers cannot say, grow as the blocks run.
    """

    encoders: VariantEncoders
    default: ComparedVariant
    drawn: ProteinBins
    seed: int
    parts: FinishedParts
    report: Reporter
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    notes: list[str] = field(default_factory=list[str])

    def fidelity(self, variants: Sequence[ComparedVariant]) -> tuple[list[FidelityRow], list[PooledRow]]:
        """Nearness to exact attention of every variant that differs from it on proteins of one window."""
        layered: list[FidelityRow] = []
        pooled: list[PooledRow] = []
        for variant in variants:
            if why := self._nothing_to_compare(variant):
                self.left_out.append(LeftOut("fidelity", variant.name, None, why))
            elif found := self._try("fidelity", variant, None, lambda v=variant: self._fidelity_of(v)):
                layered += rows_of(FidelityRow, found[0])
                pooled += rows_of(PooledRow, found[1])
        return layered, pooled

    def losses(self, variants: Sequence[ComparedVariant]) -> dict[tuple[str, int], pa.Table]:
        """Losses of the masked residues, of the schema `loss.RESIDUES`, by variant and bin."""
        found: dict[tuple[str, int], pa.Table] = {}
        for variant in variants:
            for bin in self.drawn.bins:
                made = self._try("loss", variant, bin, lambda v=variant, b=bin: self._loss_of(v, b))
                if made:
                    found[variant.name, bin] = made[0]
        self._count_rejected(found)
        return found

    def _count_rejected(self, found: Mapping[tuple[str, int], pa.Table]) -> None:
        """Note the proteins that have a loss under the default alone, because a run would reject them."""
        for (name, bin), table in found.items():
            default = found.get((self.default.name, bin))
            if default is not None and (lost := len(set(default["key"].to_pylist()) - set(table["key"].to_pylist()))):
                self.notes.append(
                    f"{name}, up to {bin:,} residues: a run would reject {lost:,} of {len(self.drawn.of(bin)):,} "
                    "proteins, because their attention cannot be approximated; losses are those of the others"
                )

    def costs(self, variants: Sequence[ComparedVariant], lengths: Sequence[int]) -> list[CostRow]:
        """Time and memory of every variant by length, each measured in a fresh process."""
        rows: list[CostRow] = []
        for variant in variants:
            found = self._try("cost", variant, None, lambda v=variant: self._cost_of(v, lengths))
            rows += rows_of(CostRow, found[0]) if found else []
        return rows

    def _try(
        self, block: str, variant: ComparedVariant, bin: int | None, work: Callable[[], list[pa.Table]]
    ) -> list[pa.Table] | None:  # fmt: skip
        """The tables of one part; None where it cannot be had, which is noted."""
        try:
            return work()
        except ProteaRayError as error:
            found = LeftOut(block, variant.name, bin, " ".join(str(error).split()))
            self.left_out.append(found)
            self.report.note(str(found))
            return None

    def _nothing_to_compare(self, variant: ComparedVariant) -> str | None:
        """Why a variant is exact attention itself for proteins of one window; None where it is not."""
        if not self._one_window:
            return "no protein fits into one window"
        if variant.stretch:
            return "positions are not stretched for proteins that the model was trained on; with a factor they are"
        own = self.encoders.checkpoint.facts.attention
        if own == EXACT.name and not variant.of_one_window:
            return "for a protein of one window it is exact attention"
        return None

    def _is_default(self, given: ComparedVariant, bin: int) -> bool:
        """Whether a variant computes what the default does for proteins of one window, so that it is not run again."""
        facts = self.encoders.checkpoint.facts
        is_short = facts.trained_length is None or bin <= facts.trained_length
        return is_short and given.of_one_window in ({}, {"attention": facts.attention})

    def _fidelity_of(self, variant: ComparedVariant) -> list[pa.Table]:
        facts = {"recipe": self.encoders.identity(variant), "exact": self.encoders.identity(EXACT),
                 "name": variant.name, **self._proteins(self._one_window)}  # fmt: skip

        def make() -> list[pa.Table]:
            from protea_ray.comparison.fidelity import fidelity

            exact = self._exact
            self.report.phase(f"comparing {variant.name} with exact attention")
            layered, pooled = fidelity(exact, self.encoders.load(variant), variant.name)
            return [table_of(FidelityRow, layered), table_of(PooledRow, pooled)]

        return self.parts.get("fidelity", ["fidelity", "pooled"], facts, make)

    def _loss_of(self, variant: ComparedVariant, bin: int) -> list[pa.Table]:
        proteins, given = self.drawn.of(bin), variant.at(bin, self.encoders.trained)
        if variant.name != self.default.name and self._is_default(given, bin):
            (table,) = self._loss_of(self.default, bin)
            return [table.set_column(0, table.field("variant"), pa.array([variant.name] * len(table)))]
        facts = {"recipe": self.encoders.identity(given), "name": variant.name, "seed": self.seed, "bin": bin,
                 **self._proteins(proteins)}  # fmt: skip

        def make() -> list[pa.Table]:
            from protea_ray.comparison.loss import loss_of_residues

            self.report.phase(f"masked loss of {variant.name}: {len(proteins):,} proteins of up to {bin:,} residues")
            return [loss_of_residues(self.encoders.load(given), proteins, variant.name, self.seed)]

        return self.parts.get("loss", [f"loss-{bin}"], facts, make)

    def _cost_of(self, variant: ComparedVariant, lengths: Sequence[int]) -> list[pa.Table]:
        given = variant.at(max(lengths), self.encoders.trained)  # the factor changes no cost
        facts = {"recipe": self.encoders.identity(given), "name": variant.name, "lengths": list(lengths)}

        def make() -> list[pa.Table]:
            model, device = self.encoders.checkpoint.model, self.encoders.device
            rows = measure_cost(model, given, lengths, device=device, seed=self.seed, said=self.report.phase)
            return [table_of(CostRow, rows)]

        return self.parts.get("cost", ["cost"], facts, make)

    @cached_property
    def _one_window(self) -> tuple[DrawnProtein, ...]:
        """The proteins that one window of the model holds."""
        return self.drawn.up_to(self.encoders.trained or max(self.drawn.bins))

    @cached_property
    def _exact(self) -> ExactStates:
        """The exact states, computed when a variant is first compared with them."""
        from protea_ray.comparison.fidelity import exact_states

        self.report.phase(f"exact attention on {len(self._one_window):,} proteins")
        return exact_states(self.encoders.load(EXACT), self._one_window)

    def _proteins(self, proteins: Sequence[DrawnProtein]) -> dict[str, Any]:
        return {"keys": [protein.key.hex() for protein in proteins], "bins": [protein.bin for protein in proteins]}
