"""Proteins that share words, against sets of strings."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.sequences import words
from protea_ray.sequences.words import distinct_words, pairs_of_words, relatives, relatives_of_pairs


def by_sets(texts: list[str]) -> list[list[int]]:
    """Pairs that share at least five words, from Python sets."""
    own = [{text[i : i + 6] for i in range(len(text) - 5)} for text in texts]
    common = {w for w in set().union(*own) if sum(w in o for o in own) <= 50} if own else set()
    return [[i, j] for i, j in combinations(range(len(texts)), 2) if len(own[i] & own[j] & common) >= 5]


@given(n=st.integers(0, 40), longest=st.integers(0, 26), seed=st.integers(0, 1 << 20))
def test_pairs_are_those_of_sets(n: int, longest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)  # of two letters there are 64 words: sharing some is the rule
    texts = ["".join(rng.choice(list("AY"), rng.integers(0, longest + 1))) for _ in range(n)]
    assert relatives(texts).tolist() == by_sets(texts)


def families(n: int, seed: int = 0) -> list[str]:
    """n proteins, in which a stretch of 12 comes in three neighbours each, over a few letters so that words recur."""
    rng = np.random.default_rng(seed)
    stretches = ["".join(rng.choice(list("ACDEFG"), 12)) for _ in range(n // 3 + 1)]
    return ["".join(rng.choice(list("ACDEFG"), 50)) + stretches[i // 3] + "".join(rng.choice(list("ACDEFG"), 50))
            for i in range(n)]  # fmt: skip


def test_counting_in_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = families(240)
    expected = by_sets(texts)
    assert len(expected) >= 200
    monkeypatch.setattr(words, "_PAIRS_HELD", 999)
    monkeypatch.setattr(words, "_PAIRS_AT_ONCE", 100)
    assert relatives(texts).tolist() == expected


def test_words_of_stretches_are_those_of_the_whole() -> None:
    texts = families(30)
    letters = np.frombuffer("".join(texts).encode(), np.uint8)
    offsets = np.cumsum([0, *map(len, texts)])
    whole = distinct_words(letters, offsets)
    cut = int(offsets[11])
    parts = [distinct_words(letters[:cut], offsets[:12]), distinct_words(letters[cut:], offsets[11:] - cut, first=11)]
    assert np.sort(np.concatenate(parts)).tolist() == whole.tolist()
    pairs = np.concatenate(list(pairs_of_words(whole)))
    assert (
        relatives_of_pairs(np.random.default_rng(0).permutation(pairs)).tolist() == relatives_of_pairs(pairs).tolist()
    )
    assert len(pairs) == words.count_pairs(whole)
