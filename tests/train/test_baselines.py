"""Baselines against guesses written out letter by letter."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.plan.steps import StepLayout
from protea_ray.train.baselines import baselines, mean_and_error
from protea_ray.train.masking import Masker
from protea_ray.train.proteins import Proteins, from_table, token_lookup
from tests.train.vocabularies import CLS, EOS, MASK, TOKENS, esm2_alphabet

AMINO = "ACDEFGHIKLMNPQRSTVWY"
LAYOUT = StepLayout(crop=30, pack_tokens=64, step_tokens=64, seed=0)


def proteins_of(n: int, seed: int = 0) -> Proteins:
    """Proteins of a few letters, X among them, so that contexts come again; the last third is for validation."""
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list("AACDEKX"), rng.integers(3, 60))) for _ in range(n)]
    split = [i >= n * 2 // 3 for i in range(n)]
    table = pa.table({"id": [f"p{i}" for i in range(n)], "sequence": texts, "is_validation": split})
    return from_table(table)


def masker() -> Masker:
    return Masker(esm2_alphabet(), MASK, LAYOUT, 0.15, "bert")


class Plain:
    """The same guesses with dictionaries, loops and no arrays. Names of contexts are tuples of letters."""

    def __init__(self, training: list[str]) -> None:
        self.counts: dict[tuple, dict[str, int]] = {}
        for text in training:
            for i, letter in enumerate(text):
                if letter in AMINO:
                    for context in self.contexts(text, i).values():
                        cell = self.counts.setdefault(context, {})
                        cell[letter] = cell.get(letter, 0) + 1

    @staticmethod
    def at(text: str, i: int) -> str:
        return text[i] if 0 <= i < len(text) and text[i] in AMINO else "-"

    def contexts(self, text: str, i: int) -> dict[str, tuple]:
        a, b, c, d = (self.at(text, i + k) for k in (-2, -1, 1, 2))
        return {"unigram": ("u",), "left": ("l", b), "right": ("r", c), "both": ("b", b, c), "two": ("t", a, b, c, d)}

    def chance(self, context: tuple, prior: dict[str, float], weight: int = 200) -> dict[str, float]:
        cell = self.counts.get(context, {})
        total = sum(cell.values()) + weight
        return {x: (cell.get(x, 0) + weight * prior[x]) / total for x in AMINO}

    def guesses(self, text: str, i: int) -> dict[str, float]:
        """Nats of letter i of a protein by guess."""
        at = self.contexts(text, i)
        unigram = self.chance(at["unigram"], dict.fromkeys(AMINO, 1 / 20))
        left, right = self.chance(at["left"], unigram), self.chance(at["right"], unigram)
        both = self.chance(at["both"], normal({x: left[x] * right[x] / unigram[x] for x in AMINO}))
        two = self.chance(at["two"], both, 2_000)
        rest = text[:i] + text[i + 1 :]
        known = sum(x in AMINO for x in rest)
        composition = {x: (rest.count(x) + 200 * unigram[x]) / (known + 200) for x in AMINO}
        product = normal({x: composition[x] * both[x] / unigram[x] for x in AMINO})
        found = {"unigram": unigram, "left": left, "right": right, "both": both, "two each side": two,
                 "composition": composition, "composition x both": product}  # fmt: skip
        assert all(math.isclose(sum(chance.values()), 1) for chance in found.values())
        return {name: -math.log(chance[text[i]]) for name, chance in found.items()}


def normal(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {x: w / total for x, w in weights.items()}


def targets(proteins: Proteins, example: int) -> tuple[str, list[int]]:
    """The validation crop of a protein as letters, and the places that are masked in it."""
    lookup = token_lookup(esm2_alphabet().table)
    pack = masker().validation_pack(proteins.tokens([example], lookup), np.array([example]))
    ids = pack.ids.copy()
    ids[pack.chosen] = pack.targets
    assert ids[0] == CLS and ids[-1] == EOS
    return "".join(TOKENS[i] for i in ids[1:-1]), (pack.chosen - 1).tolist()


def test_every_guess_is_that_of_the_plain_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protea_ray.train.baselines._BLOCK", 7)  # counts and losses of several blocks are joined
    proteins = proteins_of(60)
    plain = Plain(proteins.sequences(np.flatnonzero(~proteins.split)))
    sums: dict[str, list[list[float]]] = {}
    for example in np.flatnonzero(proteins.split).tolist():
        text, places = targets(proteins, example)
        losses = [plain.guesses(text, i) for i in places]
        for name in losses[0] if losses else ():
            sums.setdefault(name, []).append([loss[name] for loss in losses])
    found = baselines(proteins, masker(), token_lookup(esm2_alphabet().table))
    assert [b.name for b in found] == list(sums)
    for baseline in found:
        groups = sums[baseline.name]
        flat = [x for group in groups for x in group]
        mean = sum(flat) / len(flat)
        spread = sum((sum(group) - mean * len(group)) ** 2 for group in groups)
        assert baseline.nats == pytest.approx(mean, rel=1e-12)
        expected = math.sqrt(spread * len(groups) / (len(groups) - 1)) / len(flat)
        assert baseline.error == pytest.approx(expected, rel=1e-12)


def test_guesses_that_see_more_of_what_matters_are_better() -> None:
    """A text whose letters follow their left neighbour, in proteins that each lack some letters."""
    rng = np.random.default_rng(3)
    texts = []
    for _ in range(600):
        own = rng.choice(list(AMINO), 8, replace=False)
        walk = [int(rng.integers(8))]
        for _ in range(100):
            walk.append((walk[-1] + 1) % 8 if rng.random() < 0.6 else int(rng.integers(8)))
        texts.append("".join(own[sorted(range(8), key=lambda k: own[k])][w] for w in walk))
    split = [i >= 400 for i in range(600)]
    proteins = from_table(pa.table({"id": [str(i) for i in range(600)], "sequence": texts, "is_validation": split}))
    nats = {b.name: b.nats for b in baselines(proteins, masker(), token_lookup(esm2_alphabet().table))}
    assert abs(nats["unigram"] - math.log(20)) < 0.02
    assert nats["left"] < nats["unigram"] - 0.05
    assert nats["both"] < nats["left"]
    assert nats["composition"] < nats["unigram"]
    assert nats["composition x both"] < min(nats["composition"], nats["both"])


def test_the_standard_error_is_that_of_independent_proteins() -> None:
    rng = np.random.default_rng(0)
    means = []
    for _ in range(400):
        effect = np.repeat(rng.normal(0, 1, 50), 10)  # targets of a protein are alike
        mean, error = mean_and_error(3 + effect + rng.normal(0, 0.1, 500), np.repeat(np.arange(50), 10))
        means.append((mean, error))
    spread = np.std([m for m, _ in means])
    assert np.mean([e for _, e in means]) == pytest.approx(spread, rel=0.1)
    assert math.isnan(mean_and_error(np.ones(4), np.zeros(4, int))[1])
