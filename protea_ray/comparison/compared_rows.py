"""The rows of a comparison of variants, one dataclass for each table; a variant goes by the name that it was given.

`bin` is the most residues of a protein in it. A number is None where it was not measured or has no meaning.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FidelityRow:
    """How near the residues of one layer are to those of exact attention, for proteins that one window holds.

    `layer` counts from the end, 0 is the last. `relative_error` is the norm of the difference divided by that of the
    exact state, `centred_cosine` the cosine once the mean of the exact states is taken off both; means over residues.
    """

    variant: str
    layer: int
    bin: int
    proteins: int
    relative_error: float | None
    centred_cosine: float | None


@dataclass(frozen=True)
class PooledRow:
    """How near the pooled vectors are to exact ones: cosines centred on the sample's mean, and neighbours in common.

    `pooled_cosine` is the mean over proteins and `lowest` the least; `neighbours_kept` the share of the 10 nearest.
    """

    variant: str
    bin: int
    proteins: int
    pooled_cosine: float | None
    lowest: float | None
    neighbours_kept: float | None


@dataclass(frozen=True)
class LossRow:
    """Masked loss in nats, a mean over proteins, each the mean over its targets, with its standard error.

    `difference` is the mean of the protein's loss minus that under `windows`, the default; below 0 is better.
    """

    variant: str
    bin: int
    proteins: int
    targets: int
    nats: float | None
    standard_error: float | None
    difference: float | None
    difference_se: float | None


@dataclass(frozen=True)
class EdgeRow:
    """Masked loss in nats by residues from a cut of a window, `first` to `last` of them, None for no end.

    Over all proteins that the variant cuts; a mean over proteins with its standard error.
    """

    variant: str
    first: int
    last: int | None
    proteins: int
    targets: int
    nats: float | None
    standard_error: float | None
