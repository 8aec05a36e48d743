"""Residues to token ids through a table of 256 entries, built from and checked against the model's own tokenizer.

Tokenizers do 0.5 to 4 M residues/s on a core and `EsmTokenizer` merges runs of unknown characters into one
token, which silently shifts every residue after them; a table does 130 M residues/s and cannot merge anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from protea_ray.errors import CheckpointError
from protea_ray.models.families.vocabulary import AMINO_ACIDS

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTERS_3DI = AMINO_ACIDS.lower()  # Foldseek's 20 states by the case in which ProstT5 and proteins.lance spell them
PROBE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ" + AMINO_ACIDS + "XX"

Tokenize = Callable[[str], list[int]]  # letters to ids, special tokens included


@dataclass(frozen=True)
class Alphabet:
    """How one checkpoint spells a protein: `table` is (256,) int64 by ASCII code, -1 where it has no token.

    `before` and `after` are the special tokens of every window. Amino acids and structure letters (3Di) are two
    alphabets of one checkpoint, with other letters and another token before them.
    """

    table: np.ndarray
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def specials(self) -> int:
        """Number of special tokens in every window."""
        return len(self.before) + len(self.after)

    def residues(self, letters: str) -> np.ndarray:
        """One id for each letter, (L,) int64; -1 where a letter cannot be spelt."""
        return self.table[np.frombuffer(letters.encode("ascii", "replace"), dtype=np.uint8)]

    def window(self, ids: np.ndarray) -> np.ndarray:
        """The ids of one window with its special tokens."""
        return np.concatenate([np.array(self.before, np.int64), ids, np.array(self.after, np.int64)])


def read_alphabet(tokenize: Tokenize, unknown: int, replaced: Collection[str], letters: str = LETTERS) -> Alphabet:
    """Ask the tokenizer for each of `letters` alone; `replaced` ones are spelt X, as the family was trained.

    Raises CheckpointError when a residue is not exactly one known token, or when the table and the tokenizer
    differ on a probe that has every letter which is not replaced.
    """
    one, other = (letter for letter in letters if letter in "ACac")
    before, after = _specials(tokenize(one), tokenize(other))
    table = np.full(256, -1, np.int64)
    for letter in letters:
        ids = tokenize("X" if letter in replaced else letter)
        if len(ids) != len(before) + 1 + len(after) or ids[len(before)] == unknown:
            raise CheckpointError(f"the tokenizer turns residue {letter} into {ids}, not into one known token")
        table[ord(letter)] = ids[len(before)]
    alphabet = Alphabet(table, before, after)
    _check(alphabet, tokenize, _probe(letters, replaced))
    return alphabet


def _probe(letters: str, replaced: Collection[str]) -> str:
    """Residues in the case of `letters`, and those that PROBE lacks, each between two others."""
    probe = "".join(letter for letter in PROBE + PROBE.lower() if letter in letters)
    more = [letter for letter in letters if letter not in probe and letter not in replaced]
    return probe + "".join(f"A{letter}A" for letter in more)


def _specials(one: list[int], other: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    differ = [i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    if len(one) != len(other) or len(differ) != 1:
        raise CheckpointError(
            f"the tokenizer turns A into {one} and C into {other}: not one token for each residue between fixed "
            "special tokens; the vocabulary files are damaged or of another model"
        )
    return tuple(one[: differ[0]]), tuple(one[differ[0] + 1 :])


def _check(alphabet: Alphabet, tokenize: Tokenize, probe: str) -> None:
    ours, theirs = alphabet.window(alphabet.residues(probe)).tolist(), tokenize(probe)
    if ours != theirs:
        raise CheckpointError(
            f"the tokenizer turns {len(probe)} residues into {len(theirs)} tokens, {theirs[:8]}...; letter by letter "
            f"they are {ours[:8]}...: it does not spell residue by residue"
        )
