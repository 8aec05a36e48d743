"""The vocabulary of ESM-2, written out: an independent copy of its vocab.txt."""

from __future__ import annotations

import numpy as np

from protea_ray.models.families.alphabet import Alphabet

TOKENS = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>", "<mask>"]
CLS, EOS, MASK = 0, 2, 32
AMINO = {i for i, token in enumerate(TOKENS) if token in set("ACDEFGHIKLMNPQRSTVWY")}


def esm2_alphabet() -> Alphabet:
    """Letters A to Z; J is read as X."""
    table = np.full(256, -1, np.int64)
    for letter in "ABCDEFGHIKLMNOPQRSTUVWXYZ":
        table[ord(letter)] = TOKENS.index(letter)
    table[ord("J")] = TOKENS.index("X")
    return Alphabet(table, (CLS,), (EOS,))
