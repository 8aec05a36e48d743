"""Masked loss of variants at every length: what tells which of them to use where exact attention is not the truth.

Past the trained length exact attention is an extrapolation itself, so there is nothing to be near to. The same residues
are masked for every variant (`encoder.masked_loss`), and what is compared are pairs: the loss of a protein under a
variant minus its loss under `windows`, the default, over the residues that both predict. Numbers are means over
proteins, each the mean over its masked residues, with the standard error over proteins, since residues of one protein
are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from protea_ray.comparison.compared_rows import EdgeRow, LossRow
from protea_ray.comparison.protein_bins import DrawnProtein
from protea_ray.encoder.encoder import Encoder, Rejected
from protea_ray.encoder.masked_loss import WHOLE, residue_losses

RESIDUES = pa.schema(
    [
        pa.field("variant", pa.string(), nullable=False),
        pa.field("bin", pa.int64(), nullable=False),  # most residues of a protein in it
        pa.field("key", pa.binary(16), nullable=False),  # of the protein
        pa.field("place", pa.int32(), nullable=False),  # the masked residue
        pa.field("nats", pa.float64(), nullable=False),  # over the whole vocabulary
        pa.field("nats_20", pa.float64(), nullable=False),  # over the 20 amino acids
        pa.field("edge", pa.int32(), nullable=False),  # residues to the nearest cut of its window, -1 without one
    ]
)
EDGES = (8, 32, 128, 256)  # residues from a cut: 0-7, 8-31, 32-127, 128-255, 256 and more


def loss_of_residues(encoder: Encoder, proteins: Sequence[DrawnProtein], variant: str, seed: int) -> pa.Table:
    """Losses of the masked residues of `proteins` under a loaded variant, of the schema RESIDUES.

    A protein that a run would reject, because its attention cannot be approximated, has none. Raises EncoderError and
    CheckpointError, as `encoder.masked_loss` does.
    """
    rejected = _rejected(encoder, proteins)
    proteins = [protein for number, protein in enumerate(proteins) if number not in rejected]
    if not proteins:
        return RESIDUES.empty_table()
    found = residue_losses(encoder, [protein.sequence for protein in proteins], seed=seed)
    counts = [len(one.places) for one in found]
    columns = {
        "variant": [variant] * sum(counts),
        "bin": np.repeat([protein.bin for protein in proteins], counts),
        "key": [protein.key for protein, count in zip(proteins, counts, strict=True) for _ in range(count)],
        "place": np.concatenate([one.places for one in found]),
        "nats": np.concatenate([one.nats for one in found]),
        "nats_20": np.concatenate([one.nats_20 for one in found]),
        "edge": np.concatenate([one.edge for one in found]),
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in RESIDUES], schema=RESIDUES)


def _rejected(encoder: Encoder, proteins: Sequence[DrawnProtein]) -> set[int]:
    """Numbers of the proteins that a run would reject: those that fail the certificate of landmarks."""
    if encoder.core.variant.kind != "nystrom":
        return set()
    found = encoder.embed([protein.sequence for protein in proteins])
    return {one.index for one in found if isinstance(one, Rejected)}


def loss_rows(parts: Mapping[tuple[str, int], pa.Table], reference: str) -> list[LossRow]:
    """A row for each variant and bin of `parts`; differences are to the variant `reference`, None where it has none."""
    rows: list[LossRow] = []
    for (variant, bin), table in parts.items():
        if not table.num_rows:
            continue
        each = _per_protein(table)
        other = parts.get((reference, bin))
        difference = None if other is None or variant == reference else _paired(table, other)
        rows.append(
            LossRow(variant, bin, len(each), table.num_rows, *_mean_and_error(each),
                    *(_mean_and_error(difference) if difference is not None else (None, None)))
        )  # fmt: skip
    return rows


def edge_rows(parts: Mapping[tuple[str, int], pa.Table]) -> list[EdgeRow]:
    """Losses by distance from a cut of a window, of each variant that cuts, over the bins where it does."""
    rows: list[EdgeRow] = []
    for variant in dict.fromkeys(variant for variant, _ in parts):
        table = pa.concat_tables([part for (name, _), part in parts.items() if name == variant])
        edge = table["edge"].to_numpy()
        group = np.searchsorted(EDGES, edge, side="right")
        for i, first in enumerate((0, *EDGES)):
            inside = table.filter(pa.array((group == i) & (edge != WHOLE)))
            if inside.num_rows:
                each = _per_protein(inside)
                last = EDGES[i] - 1 if i < len(EDGES) else None
                rows.append(EdgeRow(variant, first, last, len(each), inside.num_rows, *_mean_and_error(each)))
    return rows


def _per_protein(table: pa.Table, column: str = "nats") -> np.ndarray:
    """(n,) mean of a column over the residues of each protein, in the order of their keys."""
    means = table.group_by("key").aggregate([(column, "mean")]).sort_by("key")
    return means[f"{column}_mean"].to_numpy()


def _paired(table: pa.Table, other: pa.Table) -> np.ndarray:
    """(n,) mean over each protein's shared residues of the loss in `table` minus that in `other`."""
    both = table.join(other, ["key", "place"], join_type="inner", right_suffix="_other")
    difference = both["nats"].to_numpy() - both["nats_other"].to_numpy()
    return _per_protein(pa.table({"key": both["key"], "nats": pa.array(difference)}))


def _mean_and_error(values: np.ndarray) -> tuple[float | None, float | None]:
    """Mean and standard error; None where there are none, or one alone."""
    if not len(values):
        return None, None
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return float(values.mean()), error
