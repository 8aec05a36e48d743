"""Telling Foldseek's structure letters (3Di) from amino acids, so that nobody's structures are read as proteins.

3Di has 20 of the letters of amino acids, so any 3Di string is a legal protein. ProstT5 wants it in lower case, and
Foldseek writes it in capitals. Two things give it away. A file of lower-case letters alone is unusual for proteins
(a soft-masked file has both cases). And 3Di has its own letter frequencies: V, D and P are 40 % of it.

Of 113,119 proteins (UniProt, UniRef90, CAFA), each taken for a file of its own, 0.03 % pass for 3Di: low complexity,
rich in V or P. Files of several proteins pass less often, and missing are short or beta-rich structures.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

_EVIDENCE, _EVIDENCE_A_LETTER = 7.0, 0.05  # log odds: of all letters together, and on average
# per mille of each letter: in 3Di (background of Foldseek's matrix), and in the proteins of the module's docstring
_SHARES = {
    "A": (49, 67), "C": (31, 43), "D": (101, 50), "E": (33, 76), "F": (28, 37), "G": (42, 60), "H": (45, 46),
    "I": (31, 56), "K": (30, 58), "L": (61, 88), "M": (15, 21), "N": (22, 49), "P": (78, 44), "Q": (51, 36),
    "R": (26, 49), "S": (61, 67), "T": (20, 51), "V": (216, 59), "W": (31, 11), "Y": (30, 31),
}  # fmt: skip
_LOG_ODDS = {letter: log(structure / protein) for letter, (structure, protein) in _SHARES.items()}
ANSWERS = (
    "this model reads amino acids and structure letters (3Di): say --alphabet aa or --alphabet 3di, in Python "
    "alphabet='aa' or alphabet='3di'"
)


def why_3di(records: Sequence[bytes]) -> str | None:
    """In words, why the letters of these records may be 3Di; None where they are amino acids.

    >>> why_3di([b"DPPVLVVQVVVLLVVLVVVVPD"])
    'letters as frequent as in 3Di (77 % are D, V or P)'
    >>> why_3di([b"dvqva"])
    'letters in lower case alone'
    >>> why_3di([b"MKTAYIAKQRqisfvkshfsrq"])
    """
    letters = b"".join(records).decode("latin-1")
    letters = "".join(letter for letter in letters if letter.isalpha())
    if not letters or any(letter not in _LOG_ODDS for letter in letters.upper()):
        return None  # 3Di has no B, J, O, U, X, Z
    if letters.islower():
        return "letters in lower case alone"
    letters = letters.upper()
    evidence = sum(_LOG_ODDS[letter] for letter in letters)
    if evidence < _EVIDENCE or evidence < _EVIDENCE_A_LETTER * len(letters):
        return None
    share = sum(letters.count(letter) for letter in "DVP") / len(letters)
    return f"letters as frequent as in 3Di ({share:.0%} are D, V or P)".replace("%", " %")
