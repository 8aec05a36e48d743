"""What the rows of a comparison say of each variant, for proteins longer than the model was trained on.

The masked loss decides, in pairs with `windows`, the default: past the trained length nothing is the truth, so there is
nothing to be near to. A variant is *better* or *worse* when its difference is beyond two standard errors and at least
0.02 nats, which is also what 8-bit weights may cost before they are called a loss; a smaller gain is not worth a space
of its own. It is *as good* when two standard errors above its difference are still below that. A bin of length in which
it is worse makes it *worse* however good it is elsewhere, because a space has one recipe for proteins of all lengths;
and so does a loss on the shorter proteins, unless the longer ones get better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from protea_ray.comparison.compared_rows import LossRow, PooledRow
from protea_ray.comparison.compared_variant import WINDOWS
from protea_ray.comparison.measured_variants import MeasuredVariants
from protea_ray.comparison.variant_cost import CostRow

LEAST_NATS = 0.02  # a smaller difference of masked loss is called none: the gate of 8-bit weights
ERRORS = 2.0  # standard errors beyond which a difference is not chance
FEW = 10  # proteins; below that a standard error is itself a guess
CHEAPER = 0.8  # of the time, or of the whole process's memory, at the longest length that both were measured at
WHOLE = 0.999  # share of the default's masked residues; a variant that predicts fewer has cut proteins

Kind = Literal["better", "as good", "worse", "cuts", "unclear", "few", "not measured"]


@dataclass(frozen=True)
class PairedLoss:
    """The mean over proteins of a variant's masked loss minus the default's, in nats, and its standard error."""

    nats: float
    standard_error: float
    proteins: int

    @property
    def is_lower(self) -> bool:
        """Whether it is below 0 by more than chance, and by enough to matter."""
        return self.nats <= -LEAST_NATS and self.nats < -ERRORS * self.standard_error

    @property
    def is_higher(self) -> bool:
        """Whether it is above 0 by more than chance, and by enough to matter."""
        return self.nats >= LEAST_NATS and self.nats > ERRORS * self.standard_error

    @property
    def is_as_good(self) -> bool:
        """Whether a loss of what matters can be ruled out."""
        return self.nats + ERRORS * self.standard_error <= LEAST_NATS

    def __str__(self) -> str:
        return f"{self.nats:+.3f} ± {self.standard_error:.3f} nats"


@dataclass(frozen=True)
class CostRatio:
    """Time and memory of the whole process as multiples of the default's, for a protein of `length` residues."""

    length: int
    seconds: float
    memory: float

    @property
    def is_cheaper(self) -> bool:
        """Whether it saves time or memory, and costs no more of the other."""
        return min(self.seconds, self.memory) <= CHEAPER and max(self.seconds, self.memory) <= 1 / CHEAPER


@dataclass(frozen=True)
class Nearness:
    """Pooled vectors beside those of exact attention, means over proteins that one window holds.

    `neighbours` is None where the sample was too small to have any.
    """

    cosine: float
    neighbours: float | None


@dataclass(frozen=True)
class Verdict:
    """One variant judged by `kind`, with the numbers behind it; None where a number was not measured.

    `long` is the difference over proteins past the trained length, `short` over the others. `better_in` and `worse_in`
    are the bins past it, `cut` the share of masked residues there that the variant does not see.
    """

    variant: str
    kind: Kind
    long: PairedLoss | None = None
    short: PairedLoss | None = None
    better_in: tuple[int, ...] = ()
    worse_in: tuple[int, ...] = ()
    cut: float = 0.0
    cost: CostRatio | None = None
    nearness: Nearness | None = None

    @property
    def harms_short(self) -> bool:
        """Whether proteins of at most the trained length get worse by it."""
        return self.short is not None and self.short.is_higher

    @property
    def because(self) -> str:
        """The difference that the verdict rests on, in words."""
        only_short = self.kind == "worse" and self.harms_short and not (self.long and self.long.is_higher)
        return f"{self.short} on shorter proteins" if only_short else str(self.long)


def verdicts(found: MeasuredVariants) -> list[Verdict]:
    """Judge every variant but the default, in the order of their rows."""
    return [_judged(found, name) for name in found.names if name != WINDOWS]


def over_proteins(rows: Iterable[LossRow]) -> PairedLoss | None:
    """Several bins as one difference, each protein counted once; None where a bin has no difference or no error.

    Bins are strata: the variance of the mean is the sum of (share of proteins x standard error)^2.
    """
    rows = list(rows)
    if not rows:
        return None
    total, mean, variance = sum(row.proteins for row in rows), 0.0, 0.0
    for row in rows:
        if row.difference is None or row.difference_se is None:
            return None
        mean += row.proteins / total * row.difference
        variance += (row.proteins / total * row.difference_se) ** 2
    return PairedLoss(mean, math.sqrt(variance), total)


def past(trained_length: int | None, rows: Iterable[LossRow]) -> list[LossRow]:
    """The rows of bins past the trained length; all of them where there is none."""
    return [row for row in rows if row.bin > (trained_length or 0)]


def _judged(found: MeasuredVariants, name: str) -> Verdict:
    own = [row for row in found.loss if row.variant == name and row.difference_se is not None]
    long = past(found.trained_length, own)
    each = {row.bin: paired for row in long if (paired := over_proteins([row]))}
    better = tuple(bin for bin, paired in each.items() if paired.is_lower)
    worse = tuple(bin for bin, paired in each.items() if paired.is_higher)
    cut, whole, short = _cut(found, name, long), over_proteins(long), over_proteins(r for r in own if r not in long)
    return Verdict(
        name, _kind(whole, short, worse, cut), whole, short, better, worse, cut,
        cost_ratio(found.cost, name), nearness(found.pooled, name),
    )  # fmt: skip


def _kind(long: PairedLoss | None, short: PairedLoss | None, worse_in: Sequence[int], cut: float) -> Kind:
    if cut > 1 - WHOLE:
        return "cuts"
    if long is None:
        return "not measured"
    if long.proteins < FEW:
        return "few"
    if worse_in or long.is_higher:
        return "worse"
    if long.is_lower:
        return "better"
    if short is not None and short.is_higher:
        return "worse"
    return "as good" if long.is_as_good else "unclear"


def _cut(found: MeasuredVariants, name: str, long: Sequence[LossRow]) -> float:
    """Share of the default's masked residues in the bins of `long` that the variant does not predict."""
    default = {row.bin: row.targets for row in found.loss if row.variant == WINDOWS}
    pairs = [(row.targets, default[row.bin]) for row in long if row.variant == name and row.bin in default]
    all_of_them = sum(targets for _, targets in pairs)
    return 1 - sum(targets for targets, _ in pairs) / all_of_them if all_of_them else 0.0


def cost_ratio(rows: Sequence[CostRow], name: str) -> CostRatio | None:
    """Cost at the longest length at which both the variant and the default were measured, on the same device."""
    own, default = ({r.length: r for r in rows if r.variant == who and r.seconds} for who in (name, WINDOWS))
    both = [n for n in own if n in default and own[n].device == default[n].device]
    if not both:
        return None
    ours, theirs = own[max(both)], default[max(both)]
    return CostRatio(
        max(both), (ours.seconds or 0.0) / (theirs.seconds or 1.0), (ours.whole_bytes or 0) / (theirs.whole_bytes or 1)
    )


def nearness(rows: Iterable[PooledRow], name: str) -> Nearness | None:
    """Means over the proteins of all bins; None where they were not compared with exact attention."""
    own = [row for row in rows if row.variant == name]
    cosine = _weighted((row.proteins, row.pooled_cosine) for row in own)
    return None if cosine is None else Nearness(cosine, _weighted((row.proteins, row.neighbours_kept) for row in own))


def _weighted(values: Iterable[tuple[int, float | None]]) -> float | None:
    """The mean of values by their numbers of proteins; None where there is none."""
    known = [(count, value) for count, value in values if value is not None]
    total = sum(count for count, _ in known)
    return sum(count * value for count, value in known) / total if total else None
