"""Masks and crops: exact where they are rules, by their statistics where they are random."""

from __future__ import annotations

import numpy as np
import pytest

from protea_ray.plan.steps import StepLayout, crop_starts
from protea_ray.train.masking import VALIDATION_SEED, MaskedPack, Masker
from tests.train.vocabularies import AMINO, CLS, EOS, MASK, esm2_alphabet

LAYOUT = StepLayout(crop=200, pack_tokens=4_096, step_tokens=4_096, seed=11)


def proteins_of(n: int, longest: int = 400, seed: int = 0) -> list[np.ndarray]:
    """Token ids 4 to 28: the 20 amino acids and X, B, U, Z, O."""
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 29, rng.integers(1, longest)).astype(np.uint8) for _ in range(n)]


def masker(kind: str = "bert", rate: float = 0.15, layout: StepLayout = LAYOUT) -> Masker:
    return Masker(esm2_alphabet(), MASK, layout, rate, kind)


def restored(pack: MaskedPack) -> np.ndarray:
    ids = pack.ids.copy()
    ids[pack.chosen] = pack.targets
    return ids


def test_a_pack_is_its_proteins_side_by_side() -> None:
    proteins = proteins_of(40)
    pack = masker().masked_pack(proteins, np.arange(100, 140), epoch=3)
    ids, at = restored(pack), 0
    for i, protein in enumerate(proteins):
        start = crop_starts(LAYOUT, 3, np.array([100 + i]), np.array([len(protein)]))[0]
        tokens = [CLS, *protein[start : start + 200].tolist(), EOS]
        assert pack.rows[i] == at
        assert ids[at : at + len(tokens)].tolist() == tokens
        assert pack.positions[at : at + len(tokens)].tolist() == list(range(len(tokens)))
        at += len(tokens)
    assert pack.rows[-1] == at == len(pack.ids) == len(pack.positions)
    assert pack.examples.tolist() == list(range(100, 140))
    arrays = (pack.ids, pack.positions, pack.rows, pack.chosen, pack.targets, pack.examples)
    assert {a.dtype for a in arrays} == {np.dtype(np.int64)}
    assert (np.diff(pack.chosen) > 0).all()


@pytest.mark.parametrize("kind", ["bert", "mask"])
def test_only_the_20_amino_acids_are_chosen_and_drawn(kind: str) -> None:
    pack = masker(kind, rate=0.9).masked_pack(proteins_of(300), np.arange(300), epoch=0)
    assert set(pack.targets.tolist()) == AMINO
    assert set(pack.ids[pack.chosen].tolist()) <= AMINO | {MASK}
    untouched = np.delete(np.arange(len(pack.ids)), pack.chosen)
    assert MASK not in pack.ids[untouched]
    if kind == "mask":
        assert (pack.ids[pack.chosen] == MASK).all()


def test_shares_of_masked_replaced_and_unchanged() -> None:
    rng = np.random.default_rng(1)
    proteins = [rng.integers(4, 24, 200).astype(np.uint8) for _ in range(2_000)]
    pack = masker().masked_pack(proteins, np.arange(2_000), epoch=0)
    m = len(pack.chosen)
    assert abs(m / 400_000 - 0.15) < 3 * np.sqrt(0.15 * 0.85 / 400_000)
    shown = pack.ids[pack.chosen]
    masked = shown == MASK
    assert abs(masked.mean() - 0.8) < 3 * np.sqrt(0.16 / m)
    # a random letter is the same one in 1 of 20 cases, so 10 % + 0.5 % look unchanged
    assert abs((shown == pack.targets).mean() - 0.105) < 3 * np.sqrt(0.105 * 0.895 / m)
    replaced = np.bincount(shown[~masked & (shown != pack.targets)], minlength=33)[sorted(AMINO)]
    expected = replaced.sum() / 20
    assert ((replaced - expected) ** 2 / expected).sum() < 44  # chi square of 19 degrees, p = 0.001
    # along a protein every place is as likely
    by_place = np.bincount(pack.positions[pack.chosen], minlength=202)[1:201]
    assert ((by_place - m / 200) ** 2 / (m / 200)).sum() < 270  # 199 degrees


def test_crop_and_mask_do_not_depend_on_pack_rank_or_step() -> None:
    proteins = proteins_of(30)
    together = masker().masked_pack(proteins, np.arange(30), epoch=1)
    for i in (0, 7, 29):
        alone = masker().masked_pack([proteins[i]], np.array([i]), epoch=1)
        first, last = together.rows[i], together.rows[i + 1]
        assert together.ids[first:last].tolist() == alone.ids.tolist()
        inside = (together.chosen >= first) & (together.chosen < last)
        assert (together.chosen[inside] - first).tolist() == alone.chosen.tolist()
        assert together.targets[inside].tolist() == alone.targets.tolist()


def test_every_epoch_seed_and_protein_has_masks_of_its_own() -> None:
    protein = np.full(200, 5, np.uint8)

    def chosen(example: int, epoch: int, seed: int) -> set[int]:
        made = masker(layout=StepLayout(200, 4_096, 4_096, seed))
        return set(made.masked_pack([protein], np.array([example]), epoch).chosen.tolist())

    sets = [chosen(*key) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]]
    for i, one in enumerate(sets):
        assert all(len(one & other) < len(one) / 2 for other in sets[:i])


def test_no_target_is_forced() -> None:
    unknown = np.full(50, 24, np.uint8)
    short = [np.array([5], np.uint8)] * 200
    pack = masker().masked_pack([unknown, *short], np.arange(201), epoch=0)
    assert not (pack.chosen < pack.rows[1]).any()
    assert 10 < len(pack.chosen) < 60  # of 200 single residues
    none = masker().masked_pack([unknown], np.array([0]), epoch=0)
    assert len(none.chosen) == len(none.targets) == 0 and none.targets.dtype == np.int64


def test_the_validation_mask_is_fixed() -> None:
    proteins = proteins_of(60)
    one = masker("bert", 0.3, StepLayout(200, 4_096, 4_096, seed=1)).validation_pack(proteins, np.arange(60))
    other = masker("mask", 0.1, StepLayout(200, 2_048, 4_096, seed=2)).validation_pack(proteins, np.arange(60))
    assert one.ids.tolist() == other.ids.tolist() and one.chosen.tolist() == other.chosen.tolist()
    assert (one.ids[one.chosen] == MASK).all()
    letters = sum(int(np.isin(p, list(AMINO)).sum() * min(1, 200 / len(p))) for p in proteins)
    assert abs(len(one.chosen) / letters - 0.15) < 0.02
    # also where a residue stands in the crop does not matter, only where it stands in the protein
    whole = masker(layout=StepLayout(1_000, 4_096, 4_096, seed=1)).validation_pack(proteins, np.arange(60))
    for i, protein in enumerate(proteins):
        layout = StepLayout(200, 4_096, 4_096, VALIDATION_SEED)
        start = crop_starts(layout, 0, np.array([i]), np.array([len(protein)]))[0]
        of_whole = {int(c - whole.rows[i] - 1) for c in whole.chosen if whole.rows[i] <= c < whole.rows[i + 1]}
        of_crop = {int(c - one.rows[i] - 1) + start for c in one.chosen if one.rows[i] <= c < one.rows[i + 1]}
        assert of_crop == {c for c in of_whole if start <= c < start + 200}


def test_special_tokens_on_one_side_only() -> None:
    alphabet = esm2_alphabet()
    made = Masker(type(alphabet)(alphabet.table, (), (EOS,)), MASK, LAYOUT, 0.15, "mask")
    pack = made.masked_pack([np.array([5, 6], np.uint8), np.array([7], np.uint8)], np.array([0, 1]), epoch=0)
    assert restored(pack).tolist() == [5, 6, EOS, 7, EOS]
    assert pack.rows.tolist() == [0, 3, 5]
