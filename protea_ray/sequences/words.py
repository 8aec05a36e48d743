"""Proteins that share words: six letters in a row, of which relatives have many in common and strangers hardly one.

Two proteins are relatives when they share at least five distinct words, not counting words that more than 50 proteins
have, which are repeats such as QQQQQQ. Of 64 million possible words two unrelated proteins of 400 residues share one in
400 times. Relatives below about 50 % identity have few words in common and are not found.

The steps `distinct_words`, `pairs_of_words` and `relatives_of_pairs` are apart so that each can be done for a part of
the words or of the pairs. Words cost 8 bytes a residue, pairs 8 bytes each: 38 million for 31 million residues.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

WORD = 6
SHARED_WORDS = 5
WORD_IN_AT_MOST = 50  # proteins
_PAIRS_AT_ONCE = 1 << 23
_PAIRS_HELD = 1 << 26  # 512 MB, and as much again while they are sorted
_LOW = np.int64((1 << 32) - 1)


def relatives(sequences: Sequence[str]) -> np.ndarray:
    """Pairs (pairs, 2) of sequences that share at least five distinct six-letter words, sorted."""
    letters = np.frombuffer("".join(sequences).encode("ascii"), np.uint8)
    return relatives_of(letters, np.cumsum([0, *map(len, sequences)]))


def relatives_of(letters: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Pairs as `relatives` has them, of n sequences as bytes: `letters` (L,) uint8, `offsets` (n + 1,) int64.

    Pairs are counted in as many parts as keep 512 MB of them in memory.
    """
    words = distinct_words(letters, offsets)
    parts = -(-count_pairs(words) // _PAIRS_HELD)
    found = [relatives_of_pairs(_of_part(words, part, parts)) for part in range(parts)]
    codes = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
    return np.stack([codes >> 32, codes & _LOW], axis=1)


def distinct_words(letters: np.ndarray, offsets: np.ndarray, first: int = 0) -> np.ndarray:
    """Every distinct word of every sequence once, as word << 32 | number of the sequence, sorted; (words,) int64.

    The first sequence has the number `first`.
    """
    count = len(letters) - WORD + 1
    if count < 1:
        return np.zeros(0, np.int64)
    numbers = letters.astype(np.int64) - ord("A")
    word = np.zeros(count, np.int64)
    for place in range(WORD):
        word += numbers[place : place + count] * 26**place
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[:count]
    inside = np.arange(count) + WORD <= offsets[owner + 1]
    return distinct((word[inside] << 32) | (owner[inside] + first))


def distinct(codes: np.ndarray) -> np.ndarray:
    """Sort numbers and leave out repeated ones."""
    ordered = np.sort(codes)
    keep = np.ones(len(ordered), bool)
    keep[1:] = ordered[1:] != ordered[:-1]
    return ordered[keep]


def _runs(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each word begins in the sorted `words`, and how many sequences have it."""
    word = words >> 32
    start = np.flatnonzero(np.concatenate([[True], word[1:] != word[:-1]])) if len(word) else np.zeros(0, np.int64)
    return start, np.diff(np.append(start, len(word)))


def count_pairs(words: np.ndarray) -> int:
    """How many pairs `pairs_of_words` gives."""
    size = _runs(words)[1]
    size = size[size <= WORD_IN_AT_MOST]
    return int((size * (size - 1) // 2).sum())


def pairs_of_words(words: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs of sequences that share a word, once for every shared word, as lower << 32 | higher, in pieces.

    `words` are sorted and hold all sequences of each of their words.
    """
    start, size = _runs(words)
    owner = words & _LOW
    for members in range(2, WORD_IN_AT_MOST + 1):
        left, right = np.triu_indices(members, 1)
        starts = start[size == members]
        step = max(1, _PAIRS_AT_ONCE // len(left))
        for at in range(0, len(starts), step):
            group = owner[starts[at : at + step, None] + np.arange(members)]
            yield ((group[:, left] << 32) | group[:, right]).ravel()


def _of_part(words: np.ndarray, part: int, parts: int) -> np.ndarray:
    """The pairs whose lower number belongs to one of `parts`."""
    return np.concatenate([pairs[(pairs >> 32) % parts == part] for pairs in pairs_of_words(words)])


def relatives_of_pairs(pairs: np.ndarray) -> np.ndarray:
    """The pairs that occur at least five times, each once, sorted. All occurrences of a pair must be in `pairs`."""
    ordered = np.sort(pairs)
    start = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.zeros(0, int)
    return ordered[start[np.diff(np.append(start, len(ordered))) >= SHARED_WORDS]]
