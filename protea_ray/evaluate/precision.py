"""What half precision costs: the last hidden states of one model in half precision beside those in float32.

It is the table of FastESM's model card (Synthyra/FastESM2_650): mean squared error over 1,000 proteins, residues only,
without special tokens. The error grows with the size of the states, which differs between models, so it also stands
here relative to their mean square, and beside the cosines that a search sees. Nothing is stored and no cluster is
needed. torch is imported where a model is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from protea_ray.cluster.progress import Reporter
from protea_ray.config.recipe import EmbeddingConfig, embedding_config
from protea_ray.config.resolution import misfits
from protea_ray.display import html_table, text_table
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import ConfigError, InputError
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from protea_ray.encoder.encoder import Encoder

REFERENCE = "float32"
HALVES = ("float16", "bfloat16")
PROTEINS = 1_000
_BLOCK_RESIDUES = 16_384  # compared at a time: 84 MB for each precision at width 1,280


@dataclass(frozen=True)
class PrecisionRow:
    """One precision against float32, over `proteins` that both could embed.

    `mse` and `relative` are means over proteins: the mean squared difference of all values of the residue matrix, and
    that divided by the mean square of the float32 values. `residue_cosine` is the mean over all residues,
    `pooled_cosine` and `lowest_cosine` are mean and minimum over the proteins' mean vectors. All are None where the
    precision cannot be computed; `note` says why, or what was left out.
    """

    dtype: str
    proteins: int = 0
    residues: int = 0
    mse: float | None = None
    relative: float | None = None
    residue_cosine: float | None = None
    pooled_cosine: float | None = None
    lowest_cosine: float | None = None
    note: str = ""

    def cells(self) -> list[str]:
        """Its row of text, under PrecisionTable.columns."""
        errors = ["-" if value is None else f"{value:.3g}" for value in (self.mse, self.relative)]
        cosines = (self.residue_cosine, self.pooled_cosine, self.lowest_cosine)
        shown = ["-" if value is None else f"{value:.6f}" for value in cosines]
        return [self.dtype, f"{self.proteins:,}", f"{self.residues:,}", *errors, *shown, self.note]


@dataclass(frozen=True, repr=False)
class PrecisionTable:
    """Half precisions of one model against float32. `files` are the checkpoint's digests, `device` where it ran."""

    model: str
    trained: bool
    files: dict[str, str]
    device: str
    measured: tuple[PrecisionRow, ...]

    def columns(self) -> list[str]:
        """Names of the columns of `rows`."""
        cosines = ["cosine of residues", "cosine of means", "lowest"]
        return ["precision", "proteins", "residues", "squared error", "relative", *cosines, "note"]

    def rows(self) -> list[list[str]]:
        """A row of text for each precision, under `columns`."""
        return [row.cells() for row in self.measured]

    def title(self) -> str:
        """What is compared, in words."""
        untrained = "" if self.trained else " (untrained)"
        return f"{self.model}{untrained} on {self.device}: last hidden states against {REFERENCE}"

    def __repr__(self) -> str:
        return f"{self.title()}\n{text_table(self.columns(), self.rows())}"

    def _repr_html_(self) -> str:
        return html_table(escape(self.title()), self.columns(), self.rows())

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)


@dataclass
class _Sums:
    """What is added up for one precision, a value a protein."""

    residues: int = 0
    errors: list[float] = field(default_factory=list[float])
    relatives: list[float] = field(default_factory=list[float])
    cosines: list[float] = field(default_factory=list[float])  # summed over a protein's residues
    pooled: list[float] = field(default_factory=list[float])
    left_out: int = 0

    def add(self, exact: np.ndarray, half: np.ndarray) -> None:
        """Compare two (residues, width) matrices of one protein."""
        exact, half = exact.astype(np.float64), half.astype(np.float64)
        error = float(np.square(half - exact).mean())
        self.residues += len(exact)
        self.errors.append(error)
        self.relatives.append(error / float(np.square(exact).mean()))
        self.cosines.append(float(_cosine(exact, half).sum()))
        self.pooled.append(float(_cosine(exact.mean(axis=0), half.mean(axis=0))))

    def row(self, dtype: str) -> PrecisionRow:
        note = f"{self.left_out:,} left out: not finite, or too long for memory" if self.left_out else ""
        if not self.errors:
            return PrecisionRow(dtype, note=note)
        means = (float(np.mean(self.errors)), float(np.mean(self.relatives)), sum(self.cosines) / self.residues)
        cosines = (float(np.mean(self.pooled)), min(self.pooled))
        return PrecisionRow(dtype, len(self.errors), self.residues, *means, *cosines, note)


def precision_table(
    model: str, sequences: Sequence[str], dtypes: Sequence[str], device: str, report: Reporter
) -> PrecisionTable:
    """Embed `sequences` (normalised letters) in float32 and in each of `dtypes`, in this process, and compare.

    `model` is named as anywhere, `device` is auto, cpu, cuda or cuda:N. A precision that the device cannot do has a row
    that says so. Raises ConfigError for other precisions and for a GPU that is not there, InputError without
    sequences, CheckpointError.
    """
    if odd := [name for name in dtypes if name not in HALVES]:
        raise ConfigError(f"{', '.join(odd)}: not a half precision; choose from {', '.join(HALVES)}", where="dtypes")
    if not sequences:
        raise InputError("there are no proteins to compare")
    report.phase(f"opening the checkpoint {model}")
    checkpoint = open_checkpoint(model)
    report.phase(f"loading {model} in {REFERENCE}, {', '.join(dtypes)}")
    exact = encoder_here(checkpoint, _recipe(checkpoint, REFERENCE), device, compiled="off")
    halves, notes = _halves(checkpoint, dtypes, exact.core.device.type)
    sums = {dtype: _Sums() for dtype in halves}
    _compare(sequences, exact, halves, sums, report)
    rows = [sums[d].row(d) if d in sums else PrecisionRow(d, note=notes[d]) for d in dtypes]
    return PrecisionTable(checkpoint.model, checkpoint.trained, checkpoint.files, _name(exact), tuple(rows))


def _recipe(checkpoint: Checkpoint, dtype: str) -> EmbeddingConfig:
    fields = {"model": checkpoint.model, "pooling": ["none"], "store_dtype": "float32", "dtype": dtype}
    return embedding_config(fields, where="precision")


def _halves(checkpoint: Checkpoint, dtypes: Sequence[str], device: str) -> tuple[dict[str, Encoder], dict[str, str]]:
    """An encoder for each precision that the device can do, and why it cannot do the others."""
    loaded: dict[str, Encoder] = {}
    notes: dict[str, str] = {}
    for dtype in dict.fromkeys(dtypes):
        recipe = _recipe(checkpoint, dtype)
        if misfits(recipe, checkpoint.facts, device):  # float16 on a CPU: all else of the recipe is the model's own
            notes[dtype] = "needs a GPU"
        else:
            loaded[dtype] = encoder_here(checkpoint, recipe, device, compiled="off")
    return loaded, notes


def _compare(
    sequences: Sequence[str], exact: Encoder, halves: dict[str, Encoder], sums: dict[str, _Sums], report: Reporter
) -> None:
    """Embed block by block under every precision, and add up the differences."""
    total = sum(map(len, sequences))
    report.start(len(sequences), total, float(total))
    for block in _blocks(sequences):
        began = time.perf_counter()
        reference = _matrices(exact, block)
        for dtype, encoder in halves.items():
            other = _matrices(encoder, block)
            for matrix, half in zip(reference, other, strict=True):
                if matrix is None or half is None:
                    sums[dtype].left_out += 1
                else:
                    sums[dtype].add(matrix, half)
        residues = sum(map(len, block))
        report.advance(len(block), residues, float(residues), time.perf_counter() - began, 0)
    report.phase(None)


def _blocks(sequences: Sequence[str]) -> Iterator[list[str]]:
    """Proteins in the order given, a block at a time of at most _BLOCK_RESIDUES residues or one protein."""
    block: list[str] = []
    for sequence in sequences:
        if block and sum(map(len, block)) + len(sequence) > _BLOCK_RESIDUES:
            yield block
            block = []
        block.append(sequence)
    yield block


def _matrices(encoder: Encoder, sequences: Sequence[str]) -> list[np.ndarray | None]:
    """The (residues, width) matrix of each protein, None for one without an embedding."""
    found: list[np.ndarray | None] = [None] * len(sequences)
    for result in encoder.embed(sequences):
        if isinstance(result, Embedded) and result.residues is not None:
            found[result.index] = result.residues[0]
    return found


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of the last axis of two arrays."""
    return (a * b).sum(axis=-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def _name(encoder: Encoder) -> str:
    """The device in words, as torch names it."""
    import platform

    import torch

    place = encoder.core.device
    return torch.cuda.get_device_name(place) if place.type == "cuda" else f"{platform.machine()} CPU"
