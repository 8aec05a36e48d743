"""How much worse one space's recipe predicts masked residues than another's: drift in nats, without labels.

Cosine and overlap say how far vectors have moved, not whether anything was lost. The loss of masked residues does: both
recipes, each with its own checkpoint, attention and precision, predict the same residues of the same proteins, so that
what is hard for both cancels (`encoder.masked_loss`). Models are loaded here, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from protea_ray.config.recipe import embedding_config
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import StoreError
from protea_ray.models.checkpoint import Checkpoint
from protea_ray.query.drift import draw, shared_keys
from protea_ray.query.own_recipe import on_this_device, recorded_checkpoint
from protea_ray.query.view import View

if TYPE_CHECKING:
    from protea_ray.encoder.masked_loss import ResidueLosses

_QUANTILE = 1.959964  # of the normal distribution, of a 95 % interval


@dataclass(frozen=True)
class MaskedDrift:
    """Space B against space A over `residues` masked residues of `proteins` proteins that both recipes predict.

    `nats_a` and `nats_b` are mean losses of a residue, `difference` is B's minus A's, `standard_error` that of the
    difference over proteins. `left_out` residues are predicted under one recipe alone, which cuts or rejects the other.
    """

    proteins: int
    residues: int
    left_out: int
    nats_a: float
    nats_b: float
    difference: float
    standard_error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval of the difference."""
        half = _QUANTILE * self.standard_error
        return self.difference - half, self.difference + half

    def sentence(self) -> str:
        """Both losses in words, and what was left out."""
        apart = f"{self.nats_b:.4f} nats a residue against {self.nats_a:.4f}"
        rest = f"; {self.left_out:,} residues that only one recipe predicts are left out" if self.left_out else ""
        return f"masked loss: {apart}, {self.residues:,} residues of {self.proteins:,} proteins{rest}"


@dataclass(frozen=True)
class SpaceModel:
    """A space and the checkpoint that made it, which is None of an imported space."""

    view: View
    checkpoint: Checkpoint | None

    @property
    def why_no_loss(self) -> str:
        """In words, why this model predicts no residues; empty where it does."""
        name = self.view.info.name
        if self.checkpoint is None:
            return f"the vectors of {name} were imported, so nothing is predicted with them"
        if not self.checkpoint.facts.has_lm_head:
            return f"the model of {name} has no language-model head, so it predicts no residues"
        return ""

    def losses(self, sequences: Sequence[str], seed: int, device: str) -> list[ResidueLosses]:
        """Losses of the masked residues of each protein under the space's recipe.

        Raises ConfigError and EncoderError for a recipe that cannot be carried out here.
        """
        from protea_ray.encoder.masked_loss import residue_losses  # imports torch

        assert self.checkpoint is not None
        recipe = embedding_config(dict(self.view.info.config), where=self.view.info.name)
        fitting = on_this_device(recipe, device, self.view.info.name)
        encoder = encoder_here(self.checkpoint, fitting, device, compiled="off")
        return residue_losses(encoder, sequences, seed=seed)


def space_model(view: View) -> SpaceModel:
    """Find the checkpoint of a space; raises CheckpointError where it is gone or is another one now."""
    return SpaceModel(view, None if view.info.imported else recorded_checkpoint(view, None))


def masked_drift(
    a: SpaceModel, b: SpaceModel, *, proteins: int, seed: int = 0, device: str = "auto",
    tell: Callable[[str], None] = lambda _: None,
) -> MaskedDrift:  # fmt: skip
    """Compare the losses of B with those of A over `proteins` proteins that both spaces hold, drawn by `seed`.

    Raises StoreError where fewer than two proteins have a residue that both predict, and what `SpaceModel.losses` does.
    """
    drawn = draw(shared_keys(a.view, b.view), proteins, seed)
    letters = _letters(a.view, drawn)
    found: list[list[ResidueLosses]] = []
    for model in (a, b):
        tell(f"predicting masked residues of {len(letters):,} proteins as space {model.view.info.name} was computed")
        found.append(model.losses(letters, seed, device))
    same_words = a.view.info.config.get("family") == b.view.info.config.get("family")
    return compared(*found, over="nats" if same_words else "nats_20")


def compared(ours: Sequence[ResidueLosses], theirs: Sequence[ResidueLosses], over: str = "nats") -> MaskedDrift:
    """The drift from losses of the same proteins under recipe A (`ours`) and B (`theirs`), paired by residue.

    `over`: `nats`, over the whole vocabulary, or `nats_20`, over the 20 amino acids, for models of two vocabularies.
    Raises StoreError for fewer than two proteins with a residue in both.
    """
    sums = np.array([_paired(one, other, over) for one, other in zip(ours, theirs, strict=True)]).reshape(-1, 4)
    left_out, kept = int(sums[:, 3].sum()), sums[sums[:, 0] > 0]
    if len(kept) < 2:
        raise StoreError(
            f"{len(kept)} of {len(sums)} sampled proteins have a masked residue that both recipes predict; at least 2 "
            "are needed"
        )
    counts, a, b = kept[:, 0], kept[:, 1], kept[:, 2]
    total = counts.sum()
    difference = float((b - a).sum() / total)
    return MaskedDrift(
        len(kept), int(total), left_out, float(a.sum() / total), float(b.sum() / total), difference,
        _ratio_error(b - a, counts, difference),
    )  # fmt: skip


def _paired(ours: ResidueLosses, theirs: ResidueLosses, over: str) -> tuple[int, float, float, int]:
    """Residues that both predict, their summed losses in both, and how many one of the two alone predicts."""
    both, one, other = np.intersect1d(ours.places, theirs.places, assume_unique=True, return_indices=True)
    left_out = len(ours.places) + len(theirs.places) - 2 * len(both)
    return len(both), getattr(ours, over)[one].sum(), getattr(theirs, over)[other].sum(), left_out


def _ratio_error(sums: np.ndarray, counts: np.ndarray, ratio: float) -> float:
    """The standard error of sum(sums) / sum(counts) over proteins: that of a ratio of two means (Cochran 1977)."""
    apart = sums - ratio * counts
    return float(np.sqrt((apart**2).sum() * len(sums) / (len(sums) - 1)) / counts.sum())


def _letters(view: View, keys: pa.Array) -> list[str]:
    """The sequences of these keys, in their order."""
    wanted = keys.to_pylist()
    rows = view.records_by("key", wanted, ["key", "sequence"])
    letters = dict(zip(rows["key"].to_pylist(), rows["sequence"].to_pylist(), strict=True))
    return [letters[key] for key in wanted if key in letters]  # a forgotten source leaves no letters
