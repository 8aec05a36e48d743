"""Masked residues predicted by a loaded encoder under its recipe: a measure of vectors that needs no labels.

Some residues of a protein become `<mask>`, the model sees the protein as the recipe lays it out (windows, truncation,
any attention), and the loss is the cross-entropy of the letters that stood there (Devlin et al. 2019). Which residues
follows from the seed and the protein's letters alone: they are the same for every recipe, model and pack, so that the
losses of two recipes are paired residue by residue.

A residue is predicted from the row that a space would hold for it: that of the window which owns it, or with `stitch:
average` the row at its place in its window, which is a mean over all windows that have such a row. A residue that a
recipe truncates is not predicted. An approximate attention is taken as it is, also where a run would reject the protein
because of it: how bad it is shall be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.layout import layout
from protea_ray.encoder.transfer import to_device
from protea_ray.errors import EncoderError
from protea_ray.models.checkpoint import mask_token
from protea_ray.models.families.vocabulary import AMINO_ACIDS
from protea_ray.plan.hashing import draws, keyed, uniform
from protea_ray.plan.windows import Span
from protea_ray.sequences.records import key_of

SHARE = 0.15
WHOLE = -1  # the distance from an edge in a protein that is seen in one piece


@dataclass(frozen=True)
class ResidueLosses:
    """The masked residues of one protein that were predicted, m of them, in the order of the protein.

    `places` (m,) int64 are their residues, `nats` and `nats_20` (m,) float64 their losses. `edge` (m,) int64 is the
    distance to the nearest cut of the window that a residue was predicted in, 0 for one beside it; the ends of the
    protein are no cuts, and where there are none it is -1.
    """

    places: np.ndarray
    nats: np.ndarray
    nats_20: np.ndarray
    edge: np.ndarray


def masked_places(sequence: str, *, share: float = SHARE, seed: int = 0) -> np.ndarray:
    """(m,) int64, ascending: the residues that are masked. Each of the 20 amino acids is chosen by itself."""
    letters = np.frombuffer(sequence.encode("ascii", "replace"), np.uint8)
    key = keyed(seed, int.from_bytes(key_of(sequence)[:8], "little", signed=True))
    chosen = uniform(draws(key, np.arange(len(letters)))) < share
    return np.flatnonzero(chosen & np.isin(letters, np.frombuffer(AMINO_ACIDS.encode(), np.uint8)))


def residue_losses(
    encoder: Encoder, sequences: Sequence[str], *, share: float = SHARE, seed: int = 0
) -> list[ResidueLosses]:  # fmt: skip
    """Loss of the masked residues of each protein under the encoder's first recipe; `share` of them are masked.

    One for each protein, in the order given; `nats` are over the whole vocabulary, `nats_20` over the 20 amino acids.
    Raises EncoderError for a checkpoint without a language-model head, letters that are no residues of the model, a
    window that memory does not hold, and a loss that is not a number; CheckpointError for a vocabulary without
    `<mask>`.
    """
    recipe = _with_head(encoder.recipes[0])
    loaded = encoder.under([recipe])
    loaded = replace(loaded, core=replace(loaded.core, certified=False))
    predictor = _Predictor(loaded, torch.from_numpy(encoder.alphabet.residues(AMINO_ACIDS)))
    mask = mask_token(encoder.directory)
    proteins = [_laid_out(encoder, recipe, s, masked_places(s, share=share, seed=seed), mask) for s in sequences]
    with torch.inference_mode():
        if recipe.stitch == "average":
            for protein in proteins:  # one at a time: its sums are as large as a window
                predictor.predict_averaged(protein)
        else:
            predictor.predict(proteins)
    return [_checked(protein, sequence) for protein, sequence in zip(proteins, sequences, strict=True)]


@dataclass(frozen=True)
class _Protein:
    """One protein with its masks put in: `ids` (L,) int64 tokens, `places` and their `targets` (m,) int64.

    `windows` are what the model sees, `owner` (m,) the number of the window that each place is predicted in. `nats`
    and `nats_20` (m,) float64 are filled in by the predictor.
    """

    ids: np.ndarray
    places: np.ndarray
    targets: np.ndarray
    windows: tuple[Span, ...]
    owner: np.ndarray
    nats: np.ndarray
    nats_20: np.ndarray

    def inside(self, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Which of the places a window predicts, and their residues in it."""
        chosen = np.flatnonzero(self.owner == window)
        return chosen, self.places[chosen] - self.windows[window][0]

    @property
    def edge(self) -> np.ndarray:
        """(m,) int64: how far each place is from a cut of its window."""
        if not len(self.places):
            return np.zeros(0, np.int64)
        far = np.iinfo(np.int64).max
        start, end = np.array(self.windows, np.int64)[self.owner].T
        left = np.where(start > 0, self.places - start, far)
        right = np.where(end < len(self.ids), end - 1 - self.places, far)
        nearest = np.minimum(left, right)
        return np.where(nearest == far, WHOLE, nearest)


@dataclass(frozen=True)
class _Predictor:
    """Predicts masked residues with a loaded encoder that has a head; `amino_acids` (20,) are the ids of the 20."""

    encoder: Encoder
    amino_acids: Tensor

    def predict(self, proteins: Sequence[_Protein]) -> None:
        """Fill in the losses of proteins, each residue from the row of the window that owns it."""
        needed = [(p, w) for p in proteins for w in np.unique(p.owner).tolist()]  # none where nothing is masked
        for members, rows, state in self._states(needed):
            parts = [(needed[i][0], *needed[i][0].inside(needed[i][1])) for i in members]
            at = np.concatenate([row + inside for row, (_, _, inside) in zip(rows, parts, strict=True)])
            targets = np.concatenate([protein.targets[chosen] for protein, chosen, _ in parts])
            losses = self._losses(state, at, targets)
            ends = np.cumsum([len(chosen) for _, chosen, _ in parts])[:-1]
            for (protein, chosen, _), both in zip(parts, np.split(losses, ends, axis=1), strict=True):
                protein.nats[chosen], protein.nats_20[chosen] = both

    def predict_averaged(self, protein: _Protein) -> None:
        """Fill in the losses of one protein, each residue from the mean over windows of the rows at its place."""
        if not len(protein.places):
            return
        longest = max(end - start for start, end in protein.windows)
        needed = [(protein, window) for window in range(len(protein.windows))]
        total = torch.zeros(longest, self.encoder.shape.hidden, device=self.encoder.core.device)
        count = torch.zeros(longest, 1, device=total.device)
        for members, rows, state in self._states(needed):
            for row, i in zip(rows, members, strict=True):
                start, end = protein.windows[i]
                total[: end - start] += state[row : row + end - start]
                count[: end - start] += 1
        inside = protein.places - np.array(protein.windows)[protein.owner, 0]
        protein.nats[:], protein.nats_20[:] = self._losses(total / count, inside, protein.targets)

    def _states(
        self, needed: Sequence[tuple[_Protein, int]]
    ) -> Iterator[tuple[list[int], list[int], Tensor]]:  # fmt: skip
        """Last states (T, D) in packs: which of `needed` are inside, and the row of the first residue of each."""
        alphabet, core, last = self.encoder.alphabet, self.encoder.core, len(self.encoder.core.stack.layers)
        windows = [alphabet.window(p.ids[slice(*p.windows[w])]) for p, w in needed]
        for members, pack, states in core.in_packs(windows, self.encoder.token_budget, frozenset({last})):
            yield members, [int(row) + len(alphabet.before) for row in pack.rows[:-1]], states[last]

    def _losses(self, states: Tensor, at: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """(2, m) float64: the losses of `targets` (m,) from the rows `at` of states, over all tokens and over the 20.

        The compute dtype is that of the weights: a mean of rows is rounded to it as a stored row would be.
        """
        rows = states.index_select(0, to_device(at, states.device))
        logits, wanted = self.encoder.core.logits(rows), to_device(targets, states.device)
        whole = F.cross_entropy(logits, wanted, reduction="none")
        letters = letters_loss(logits, wanted, self.amino_acids.to(states.device))
        return torch.stack([whole, letters]).double().cpu().numpy()


def letters_loss(logits: Tensor, targets: Tensor, amino_acids: Tensor) -> Tensor:
    """Each target's loss (m,) when only the 20 amino acids could be said; `logits` (m, V), `amino_acids` (20,) ids."""
    logits = logits.float()
    return logits[:, amino_acids].logsumexp(1) - logits.gather(1, targets[:, None])[:, 0]


def _with_head(recipe: EmbeddingConfig) -> EmbeddingConfig:
    """The recipe for whole proteins with a head: what a residue is predicted from does not depend on its pooling."""
    changed = {"outputs": ("embeddings", "logits"), "pooling": ("mean",), "chunk_size": None, "chunk_overlap": 0}
    return recipe.model_copy(update=changed)


def _laid_out(encoder: Encoder, recipe: EmbeddingConfig, sequence: str, places: np.ndarray, mask: int) -> _Protein:
    """One protein with masks at those of `places` that the recipe's windows see."""
    ids = encoder.alphabet.residues(sequence)
    if (ids < 0).any():
        strange = " ".join(sorted({c for c, token in zip(sequence, ids.tolist(), strict=True) if token < 0}))
        raise EncoderError(f"{sequence[:20]}... has letters that are no residues of this model: {strange}")
    laid = layout(len(ids), recipe.model_copy(update={"outputs": ("embeddings",)})) if len(ids) else None
    windows = () if laid is None else laid.windows
    places = places[places < (0 if laid is None else laid.seen)]
    targets = ids[places]
    ids[places] = mask
    if recipe.stitch == "average":
        owner = np.searchsorted([start for start, _ in windows], places, side="right") - 1
    else:
        pieces = [] if laid is None else laid.pieces
        at = np.searchsorted([piece.start for piece in pieces], places, side="right") - 1
        owner = np.array([piece.window for piece in pieces], np.int64)[at]
    return _Protein(ids, places, targets, windows, owner, *np.zeros((2, len(places))))


def _checked(protein: _Protein, sequence: str) -> ResidueLosses:
    """What a protein's places gave; raises EncoderError for a loss that is not a number."""
    if not (np.isfinite(protein.nats).all() and np.isfinite(protein.nats_20).all()):
        raise EncoderError(f"{sequence[:20]}... ({len(sequence):,} residues): the model gave NaN or Inf")
    return ResidueLosses(protein.places, protein.nats, protein.nats_20, protein.edge)
