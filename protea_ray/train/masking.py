"""Masked-language modelling (Devlin et al. 2019): which residues of a pack are predicted, and what stands there.

Each of the 20 amino acids is chosen by itself with the mask rate. Kind `bert`: of those chosen 80 % become `<mask>`,
10 % one of the 20 at random, 10 % stay; kind `mask`: all become `<mask>`. Special tokens and X, B, Z, U, O, J are never
chosen and never drawn. No protein is given a target by force: a short one may have none.

The numbers come from `plan.hashing`, keyed by (seed, epoch, protein) and counted by the residue's place in the whole
protein. So crop and mask of a protein are the same in any pack, on any rank and in any step. The validation mask has a
seed of its own and no epoch: it is the same for every run on the same proteins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from protea_ray.models.families.vocabulary import AMINO_ACIDS
from protea_ray.plan.hashing import below, draws, keyed, uniform
from protea_ray.plan.steps import Purpose, StepLayout, crop_starts

if TYPE_CHECKING:
    from protea_ray.models.families.alphabet import Alphabet

VALIDATION_SEED = 20_190_523
VALIDATION_RATE = 0.15
MASKED, REPLACED = 0.8, 0.9  # below 0.8 `<mask>`, below 0.9 another letter, else unchanged


@dataclass(frozen=True)
class MaskedPack:
    """Proteins side by side with their special tokens, T tokens of n proteins, of which m are to be predicted.

    `ids` (T,) int64 with the masks put in; `positions` (T,) int64, from 0 in each protein; `rows` (n + 1,) int64, where
    each protein begins and the last one ends; `chosen` (m,) int64, places in the pack, ascending; `targets` (m,) int64,
    the token ids that stood there; `examples` (n,) int64.
    """

    ids: np.ndarray
    positions: np.ndarray
    rows: np.ndarray
    chosen: np.ndarray
    targets: np.ndarray
    examples: np.ndarray


class Masker:
    """Makes packs of masked tokens for one vocabulary. `mask_id` is the token `<mask>`, `layout` has crop and seed.

    `codes` (256,) int64 has the amino acid of a token id, 0 to 19 in the order of their letters, and 20 for any other.
    """

    def __init__(self, alphabet: Alphabet, mask_id: int, layout: StepLayout, rate: float, kind: str) -> None:
        self.layout = layout
        self.rate = rate
        self.kind = kind
        self._mask_id = mask_id
        self._before, self._after = (np.array(ids, np.int64) for ids in (alphabet.before, alphabet.after))
        self._amino_acids = alphabet.residues(AMINO_ACIDS)
        self.codes = np.full(256, len(AMINO_ACIDS), np.int64)
        self.codes[self._amino_acids] = np.arange(len(AMINO_ACIDS))

    def masked_pack(self, proteins: Sequence[np.ndarray], examples: np.ndarray, epoch: int) -> MaskedPack:
        """Crop, join and mask whole proteins, uint8 token ids without special tokens, for a training step.

        `examples` (n,) are their numbers in the data set.
        """
        pack, letters = self._joined(proteins, examples, self.layout, epoch)
        keys = keyed(self.layout.seed, epoch, Purpose.MASK, pack.examples)
        return self._masked(pack, letters, keys, self.rate, self.kind)

    def validation_pack(self, proteins: Sequence[np.ndarray], examples: np.ndarray) -> MaskedPack:
        """The same with the fixed crop and mask of the validation: 15 %, all `<mask>`."""
        layout = replace(self.layout, seed=VALIDATION_SEED)
        pack, letters = self._joined(proteins, examples, layout, epoch=0)
        keys = keyed(VALIDATION_SEED, 0, Purpose.MASK, pack.examples)
        return self._masked(pack, letters, keys, VALIDATION_RATE, "mask")

    def _joined(
        self, proteins: Sequence[np.ndarray], examples: np.ndarray, layout: StepLayout, epoch: int
    ) -> tuple[MaskedPack, _Letters]:
        """A pack without masks, and where the letters of its proteins are."""
        lengths = np.array([len(p) for p in proteins], np.int64)
        starts = crop_starts(layout, epoch, np.asarray(examples, np.int64), lengths)
        kept = np.minimum(lengths, layout.crop)
        before, after = len(self._before), len(self._after)
        sizes = kept + before + after
        rows = np.concatenate([[0], np.cumsum(sizes)])
        ids = np.empty(rows[-1], np.int64)
        positions = np.arange(rows[-1]) - np.repeat(rows[:-1], sizes)
        owner = np.repeat(np.arange(len(proteins)), kept)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(kept) - kept, kept)
        place = rows[owner] + before + within
        crops = [p[s : s + k] for p, s, k in zip(proteins, starts.tolist(), kept.tolist(), strict=True)]
        ids[place] = np.concatenate(crops) if crops else 0
        for i, token in enumerate(self._before):
            ids[rows[:-1] + i] = token
        for i, token in enumerate(self._after):
            ids[rows[1:] - after + i] = token
        none = np.zeros(0, np.int64)
        pack = MaskedPack(ids, positions, rows, none, none, np.asarray(examples, np.int64))
        return pack, _Letters(place, owner, starts[owner] + within)

    def _masked(self, pack: MaskedPack, letters: _Letters, keys: np.ndarray, rate: float, kind: str) -> MaskedPack:
        """Choose letters with the rate and put masks in. `keys` (n,) are the proteins'."""
        ids = pack.ids
        numbers = draws(keys[letters.owner], letters.residue)
        taken = (self.codes[ids[letters.place]] < len(AMINO_ACIDS)) & (uniform(numbers) < rate)
        chosen, numbers = letters.place[taken], numbers[taken]
        targets = ids[chosen]
        ids[chosen] = self._mask_id if kind == "mask" else self._bert(targets, numbers)
        return MaskedPack(ids, pack.positions, pack.rows, chosen, targets, pack.examples)

    def _bert(self, targets: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """What stands in place of the targets, from numbers of which the places were chosen: hashed again."""
        share = uniform(draws(numbers, np.zeros(1, np.int64)))
        letter = self._amino_acids[below(draws(numbers, np.ones(1, np.int64)), len(AMINO_ACIDS))]
        return np.where(share < MASKED, self._mask_id, np.where(share < REPLACED, letter, targets))


@dataclass(frozen=True)
class _Letters:
    """Of each letter of a pack, all (letters,): its place in the pack, its protein there, its place in the protein."""

    place: np.ndarray
    owner: np.ndarray
    residue: np.ndarray
