"""What a masked residue can be guessed from without a model: its frequency, its neighbours, its protein's composition.

A language model that is not clearly below the last of these has learned no context. All are probabilities of the 20
amino acids, with counts of the training side:

* `unigram`; `left`, `right` and `both` neighbours; `two each side`, backed off to `both`;
* `composition`: that of the rest of the validation protein's crop, the target left out, with a Dirichlet prior of 200
  residues of the unigram;
* `composition x both`: the product of these two, divided by the unigram and normalised over the 20.

They are measured at the places of the fixed validation mask, so that they stand beside the validation loss. But they
see the true letters of all other places, also of those that the model sees as `<mask>`: they are flattered, not
hindered. Counts are backed off by a Dirichlet prior of the next simpler guess (MacKay and Peto 1995), 200 or
2,000 residues of it. A letter that is none of the 20, and the end of a protein, are one more neighbour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from protea_ray.train.masking import MaskedPack, Masker
from protea_ray.train.proteins import Proteins

PRIOR = 200
PRIOR_TWO = 2_000  # for 194,481 pairs of neighbours with 160 residues each: relatives in training count each other
OTHER = 20  # neighbour that is none of the 20 amino acids, or no residue
_STATES = 21
_BLOCK = 4_096  # proteins that are counted, or measured, at once


@dataclass(frozen=True)
class Baseline:
    """One guess: mean loss in nats over targets, and its standard error over validation proteins."""

    name: str
    nats: float
    error: float


def baselines(proteins: Proteins, masker: Masker, lookup: np.ndarray) -> list[Baseline]:
    """All guesses on the validation side of `proteins`, simplest first; `lookup` is that of `token_lookup`.

    A protein counts by its targets, as in the validation loss; the standard error is that of a ratio of sums.
    """
    counts = ContextCounts()
    for block in _blocks(np.flatnonzero(~proteins.split)):
        counts.add(_flat(masker.codes[tokens] for tokens in proteins.tokens(block, lookup)))
    guesses = Guesses(counts)
    losses: list[dict[str, np.ndarray]] = []
    owners: list[np.ndarray] = []
    for block in _blocks(np.flatnonzero(proteins.split)):
        pack = masker.validation_pack(proteins.tokens(block, lookup), block)
        losses.append(guesses.losses(pack, masker.codes))
        owners.append(block[np.searchsorted(pack.rows, pack.chosen, side="right") - 1])
    owner = np.concatenate(owners)
    return [Baseline(name, *mean_and_error(np.concatenate([part[name] for part in losses]), owner))
            for name in losses[0]]  # fmt: skip


def _blocks(examples: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(examples), _BLOCK):
        yield examples[first : first + _BLOCK]


def mean_and_error(losses: np.ndarray, owner: np.ndarray) -> tuple[float, float]:
    """Mean of losses (m,) and its standard error over the proteins (m,) they belong to.

    The mean is a ratio, sum of losses / number of targets, so the error is that of the proteins' sums of deviations
    from it (Cochran 1977, section 2.11). It is not a number for fewer than two proteins.
    """
    mean = float(losses.mean())
    _, row = np.unique(owner, return_inverse=True)
    deviations = np.bincount(row, losses - mean)
    n = len(deviations)
    error = np.sqrt((deviations**2).sum() * n / (n - 1)) / len(losses) if n > 1 else np.nan
    return mean, float(error)


def _flat(proteins: Iterable[np.ndarray]) -> np.ndarray:
    """Codes 0 to 19, 20 for any other, of proteins in a row with two of the latter around each; (L,) int64."""
    edge = np.full(2, OTHER, np.int64)
    parts = [edge]
    for codes in proteins:
        parts += [codes, edge]
    return np.concatenate(parts)


class ContextCounts:
    """How often each amino acid stands between which neighbours, in training."""

    def __init__(self) -> None:
        self.both = np.zeros((_STATES, _STATES, 20), np.int64)  # left, right, the residue
        self.two = np.zeros((_STATES**4, 20), np.int32)  # second left, left, right, second right; 16 MB

    def add(self, flat: np.ndarray) -> None:
        """Count the residues of `_flat` proteins."""
        place = np.flatnonzero(flat < OTHER)
        both, two = _neighbours(flat, place)
        self.both += np.bincount(both * 20 + flat[place], minlength=self.both.size).reshape(self.both.shape)
        self.two += np.bincount(two * 20 + flat[place], minlength=self.two.size).reshape(self.two.shape)


def _neighbours(flat: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the neighbours of places, one and two on each side: rows of the counts `both` and `two`."""
    both = flat[place - 1] * _STATES + flat[place + 1]
    return both, flat[place - 2] * _STATES**3 + both * _STATES + flat[place + 2]


class Guesses:
    """Probabilities of the 20 amino acids given what a guess may see."""

    def __init__(self, counts: ContextCounts) -> None:
        self.unigram = _backed_off(counts.both.sum((0, 1)), np.full(20, 1 / 20))
        self.left = _backed_off(counts.both.sum(1), self.unigram)
        self.right = _backed_off(counts.both.sum(0), self.unigram)
        self.both = _backed_off(counts.both, self._either()).reshape(-1, 20)
        self._two = counts.two

    def _either(self) -> np.ndarray:
        """Left and right taken as independent given the residue: (21, 21, 20)."""
        joint = self.left[:, None] * self.right[None] / self.unigram
        return joint / joint.sum(-1, keepdims=True)

    def losses(self, pack: MaskedPack, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Nats of each target (m,) of a pack, by guess; `codes` (256,) turn token ids into 0 to 20."""
        ids = pack.ids.copy()
        ids[pack.chosen] = pack.targets
        flat = np.concatenate([[OTHER], codes[ids], [OTHER]])  # a special token is no residue
        place = pack.chosen + 1
        target = flat[place]
        both, two = _neighbours(np.concatenate([[OTHER], flat, [OTHER]]), place + 1)
        composition = self._composition(pack, codes[ids], target)
        product = composition * self.both[both] / self.unigram
        chances = {
            "unigram": np.broadcast_to(self.unigram, (len(target), 20)),
            "left": self.left[flat[place - 1]],
            "right": self.right[flat[place + 1]],
            "both": self.both[both],
            "two each side": _backed_off(self._two[two], self.both[both], PRIOR_TWO),
            "composition": composition,
            "composition x both": product / product.sum(1, keepdims=True),
        }
        return {name: -np.log(chance[np.arange(len(target)), target]) for name, chance in chances.items()}

    def _composition(self, pack: MaskedPack, codes: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(m, 20) from the other residues of each target's protein."""
        n = len(pack.rows) - 1
        owner = np.repeat(np.arange(n), np.diff(pack.rows))
        counts = np.bincount(owner * _STATES + codes, minlength=n * _STATES).reshape(n, _STATES)[:, :20]
        rest = counts[owner[pack.chosen]]
        rest[np.arange(len(target)), target] -= 1
        return _backed_off(rest, self.unigram)


def _backed_off(counts: np.ndarray, prior: np.ndarray, weight: int = PRIOR) -> np.ndarray:
    """Counts (..., 20) as probabilities, with `weight` residues of a simpler guess added."""
    return (counts + weight * prior) / (counts.sum(-1, keepdims=True) + weight)
