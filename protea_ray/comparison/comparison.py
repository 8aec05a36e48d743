"""`compare`: the ways to compute one model's vectors set side by side, in three blocks, into a folder.

| block | question | proteins |
|---|---|---|
| fidelity | how near to exact attention, where that is what the model was trained with | those of one window |
| loss | how well masked residues are predicted, which needs no reference | all lengths |
| cost | time and memory by length | one, of random letters |

All mistakes are said before a model is loaded. The same comparison again goes on where a killed one stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from protea_ray.cluster.progress import Reporter
from protea_ray.comparison.advice import advice
from protea_ray.comparison.blocks import Blocks, LeftOut, grouped
from protea_ray.comparison.compared_rows import EdgeRow, FidelityRow, LossRow, PooledRow
from protea_ray.comparison.compared_tables import (
    ComparedTable,
    difference_table,
    edge_table,
    fidelity_table,
    loss_table,
)
from protea_ray.comparison.compared_variant import (
    WINDOWS,
    ComparedVariant,
    compared_variant,
    compared_variants,
    default_variants,
    listed_variants,
)
from protea_ray.comparison.drift_file import drift_directory, write_measured_drift
from protea_ray.comparison.finished_parts import FinishedParts, table_of
from protea_ray.comparison.measured_variants import MeasuredVariants
from protea_ray.comparison.protein_bins import ProteinBins, draw_proteins, length_bins
from protea_ray.comparison.variant_cost import LENGTHS, CostRow
from protea_ray.comparison.variant_encoders import USUAL_OVERLAP, VariantEncoders
from protea_ray.comparison.variant_report import cost_tables, write_comparison_report
from protea_ray.comparison.variant_verdicts import FEW
from protea_ray.config.paths import is_file
from protea_ray.errors import ConfigError, ProteaRayError, did_you_mean
from protea_ray.evaluate.tables.shown import ShownTable
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint

BLOCKS = ("fidelity", "loss", "cost")
PER_BIN = 50  # proteins
LONGEST = 8192  # residues; exact attention of ESM-2's 8M shape takes 12 s of a core for one such protein
PARTS = "parts"


@dataclass(frozen=True)
class ComparisonOptions:
    """What is measured and on what: `variants` None are the default ones, `longest` None is LONGEST for losses and
    the longest protein of the field's hardest file for costs. `beside_model`: variants.json beside the weights too."""

    variants: tuple[str, ...] | None = None
    blocks: tuple[str, ...] = BLOCKS
    seed: int = 0
    per_bin: int = PER_BIN
    longest: int | None = None
    device: str = "auto"
    beside_model: bool = False


@dataclass(frozen=True, repr=False)
class Comparison:
    """The rows of every block (`found`, and `edges` of the losses), what was left out and why, and notes.

    `advice` is a paragraph for the user's own model, `written` are the files.
    """

    found: MeasuredVariants
    edges: tuple[EdgeRow, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    advice: str
    written: tuple[Path, ...] = ()

    def tables(self) -> list[ShownTable]:
        """The tables that a terminal shows: all that have rows, and of the costs the one by variant."""
        return [*_tables(self.found, self.edges), *cost_tables(self.found)[:1]]

    def all_notes(self) -> list[str]:
        """What the numbers cannot say, and what is not among them."""
        return [*self.notes, *grouped(self.left_out)]

    def __repr__(self) -> str:
        return "\n".join([*map(repr, self.tables()), *(f"note: {note}" for note in self.all_notes()), self.advice])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(note)}</p>" for note in (*self.all_notes(), self.advice))
        return "".join(table._repr_html_() for table in self.tables()) + notes

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        facts = {"edges": [asdict(row) for row in self.edges], "left_out": [asdict(one) for one in self.left_out],
                 "notes": list(self.notes), "advice": self.advice}  # fmt: skip
        return {**asdict(self.found), **facts, "written": [str(path) for path in self.written]}


def compare(model: str | None, source: str, out: Path, report: Reporter, options: ComparisonOptions) -> Comparison:
    """Compare variants of `model` on proteins of `source` (sequences or a store) and write everything below `out`.

    Raises ConfigError with every mistake in the options, CheckpointError and InputError, before a model is loaded.
    """
    _require_options(out, options)
    report.phase(f"opening {model or 'the default model'}")
    checkpoint = open_checkpoint(model)
    beside = drift_directory(checkpoint) if options.beside_model else None
    variants, encoders = _variants(checkpoint, options)
    trained, longest = checkpoint.facts.trained_length, options.longest or LONGEST
    report.phase(f"drawing proteins from {source}")
    drawn = draw_proteins(source, length_bins(trained, longest), options.per_bin, options.seed)
    default = next((variant for variant in variants if variant.name == WINDOWS), compared_variant(WINDOWS))
    blocks = Blocks(encoders, default, drawn, options.seed, FinishedParts(out / PARTS), report)
    layered, pooled = blocks.fidelity(variants) if "fidelity" in options.blocks else ([], [])
    losses, edges = _losses(blocks, variants) if "loss" in options.blocks else ([], [])
    costs = blocks.costs(variants, _lengths(options.longest)) if "cost" in options.blocks else []
    found = MeasuredVariants(
        checkpoint.model, trained, tuple(layered), tuple(pooled), tuple(losses), tuple(costs),
        {variant.name: variant.fields for variant in variants},
    )  # fmt: skip
    notes = (*_notes(drawn, checkpoint, longest), *blocks.notes)
    done = Comparison(found, tuple(edges), tuple(blocks.left_out), notes, advice(found))
    report.phase(f"writing {out}")
    written = (*_written(done, out), *([write_measured_drift(beside, found)] if beside else []))
    report.phase(None)
    return replace(done, written=written)


def _written(done: Comparison, out: Path) -> list[Path]:
    """Write the report and the rows of every block that has some."""
    files = write_comparison_report(out, done.found, _tables(done.found, done.edges), done.all_notes())
    rows = {"fidelity": (FidelityRow, done.found.fidelity), "pooled": (PooledRow, done.found.pooled),
            "loss": (LossRow, done.found.loss), "edges": (EdgeRow, done.edges),
            "cost": (CostRow, done.found.cost)}  # fmt: skip
    for name, (kind, values) in rows.items():
        path = out / f"{name}.parquet"
        path.unlink(missing_ok=True)  # of an earlier comparison with other blocks
        if values:
            pq.write_table(table_of(kind, values), path, compression="zstd")
            files.append(path)
    return files


def _tables(found: MeasuredVariants, edges: Sequence[EdgeRow]) -> list[ComparedTable]:
    every = [
        fidelity_table(found.fidelity, found.pooled), loss_table(found.loss), difference_table(found.loss, WINDOWS),
        edge_table(edges),
    ]  # fmt: skip
    return [table for table in every if table.lines]


def _losses(blocks: Blocks, variants: Sequence[ComparedVariant]) -> tuple[list[LossRow], list[EdgeRow]]:
    from protea_ray.comparison.loss import edge_rows, loss_rows  # imports torch

    found = blocks.losses(variants)
    plain = {variant.name for variant in variants if not variant.of_one_window}  # bits tell nothing of cuts
    return loss_rows(found, WINDOWS), edge_rows({at: table for at, table in found.items() if at[0] in plain})


def _lengths(longest: int | None) -> tuple[int, ...]:
    """The lengths of the cost block up to `longest`, which is one of them; all where nobody says."""
    if longest is None:
        return LENGTHS
    return tuple(sorted({length for length in LENGTHS if length < longest} | {longest}))


def _require_options(out: Path, options: ComparisonOptions) -> None:
    """Raise ConfigError with everything that is wrong in the options."""
    problems = [
        f"blocks: {block!r} is not {', '.join(BLOCKS)}{did_you_mean(block, BLOCKS)}"
        for block in options.blocks if block not in BLOCKS
    ]  # fmt: skip
    if not options.blocks:
        problems.append(f"blocks: name at least one of {', '.join(BLOCKS)}")
    if options.per_bin < 2:
        problems.append(f"proteins per bin: {options.per_bin} give no standard error; use at least 2")
    if options.longest is not None and options.longest < 1:
        problems.append(f"longest: {options.longest} residues are none; use at least 1")
    if is_file(str(out)):
        problems.append(f"out: {out} is a file; name a folder")
    if options.variants is not None:
        try:
            compared_variants(listed_variants(options.variants))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems, where="compare-variants")


def _variants(
    checkpoint: Checkpoint, options: ComparisonOptions
) -> tuple[tuple[ComparedVariant, ...], VariantEncoders]:  # fmt: skip
    """The variants, with `windows` among them where losses are compared with it; raises for a checkpoint of one."""
    texts = listed_variants(options.variants) if options.variants is not None else default_variants(checkpoint.facts)
    variants = compared_variants(texts)
    if "loss" in options.blocks and all(variant.name != WINDOWS for variant in variants):
        variants = (compared_variant(WINDOWS), *variants)
    encoders, problems, fitted = VariantEncoders(checkpoint, options.device), list[str](), list[ComparedVariant]()
    for variant in variants:
        try:
            fitted.append(encoders.fitted(variant))
        except ProteaRayError as error:
            problems.append(f"{variant.name}: {error}")
    if problems:
        raise ConfigError(problems, where="variants")
    return tuple(fitted), encoders


def _notes(drawn: ProteinBins, checkpoint: Checkpoint, longest: int) -> list[str]:
    """What was not there to be compared."""
    notes: list[str] = []
    trained = checkpoint.facts.trained_length
    if trained is not None and trained <= USUAL_OVERLAP:
        notes.append(
            f"windows share {trained // 4} residues, unless a variant says how many: the usual {USUAL_OVERLAP} are not "
            f"below the {trained:,} that the model was trained on"
        )
    if drawn.left_out:
        notes.append(
            f"{drawn.left_out:,} proteins of more than {longest:,} residues are left out; with --longest they are not, "
            "and the time that exact attention takes grows with the square"
        )
    if drawn.lacking:
        said = ", ".join(f"up to {bin:,}" for bin in drawn.lacking)
        notes.append(f"there are no proteins in these bins: {said} residues")
    if few := [bin for bin in drawn.bins if len(drawn.of(bin)) < FEW]:
        said = ", ".join(f"up to {bin:,}: {len(drawn.of(bin))}" for bin in few)
        notes.append(f"fewer than {FEW} proteins say little of a bin: {said}")
    if not checkpoint.trained:
        notes.append(f"{checkpoint.model} was never trained: of these numbers only the costs mean anything")
    return notes
