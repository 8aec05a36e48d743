"""The plan of steps: what every run relies on, over many data sets and layouts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protea_ray.errors import ConfigError
from protea_ray.plan import hashing
from protea_ray.plan.steps import EpochSteps, StepLayout, crop_starts, pack_of_rank

LENGTHS = st.builds(  # hypothesis takes its time to draw hundreds of numbers itself
    lambda n, seed: np.random.default_rng(seed).integers(1, 90, n), st.integers(120, 1_500), st.integers(0, 1 << 20)
)
LAYOUTS = st.builds(
    StepLayout,
    crop=st.integers(1, 60),
    pack_tokens=st.integers(64, 200),
    step_tokens=st.integers(200, 900),
    seed=st.integers(0, 2**63 - 1),
    specials=st.integers(0, 3),
)


def real_lengths(n: int, seed: int = 0) -> np.ndarray:
    """Lengths as those of proteomes: log-normal, median 300, a tail above 2,000."""
    return np.random.default_rng(seed).lognormal(5.7, 0.75, n).astype(np.int64) + 20


def planned(lengths: np.ndarray, layout: StepLayout, epoch: int) -> EpochSteps | None:
    """None where the proteins do not fill one step."""
    try:
        return EpochSteps(lengths, layout, epoch)
    except ConfigError:
        return None


@given(lengths=LENGTHS, layout=LAYOUTS, epoch=st.integers(0, 5))
def test_no_protein_comes_twice_and_no_pack_is_over_its_budget(
    lengths: np.ndarray, layout: StepLayout, epoch: int
) -> None:
    plan = planned(lengths, layout, epoch)
    if plan is None:
        return
    tokens = np.minimum(lengths, layout.crop) + layout.specials
    packs = [pack for step in range(plan.steps) for pack in plan.packs(step)]
    assert len(packs) == plan.steps * layout.packs_per_step
    assert all(0 < tokens[pack].sum() <= layout.pack_tokens for pack in packs)
    seen = np.concatenate(packs)
    assert len(np.unique(seen)) == len(seen)
    assert seen.min() >= 0 and seen.max() < len(lengths)
    # what is left out are packs of one incomplete step: they hold less than a step's tokens
    assert np.delete(tokens, seen).sum() <= (layout.packs_per_step - 1) * layout.pack_tokens


@given(lengths=LENGTHS, layout=LAYOUTS, world=st.integers(1, 9))
def test_the_ranks_of_any_world_share_each_step_without_rest(
    lengths: np.ndarray, layout: StepLayout, world: int
) -> None:
    plan = planned(lengths, layout, epoch=1)
    if plan is None:
        return
    for step in {0, plan.steps - 1}:
        packs = [pack.tolist() for pack in plan.packs(step)]
        ranks = [pack_of_rank(packs, rank, world) for rank in range(world)]
        assert sorted(pack for rank in ranks for pack in rank) == sorted(packs)
        assert max(map(len, ranks)) - min(map(len, ranks)) <= 1
        for rank, own in enumerate(ranks):
            assert own == [pack for p, pack in enumerate(packs) if (p % layout.packs_per_step) % world == rank]


def flat(plan: EpochSteps) -> list[int]:
    return [int(i) for step in range(plan.steps) for pack in plan.packs(step) for i in pack]


def test_every_epoch_and_seed_has_an_order_of_its_own_and_always_the_same() -> None:
    lengths = real_lengths(3_000)
    layout = StepLayout(510, 1536, 15_360, seed=7)
    first = flat(EpochSteps(lengths, layout, 0))
    assert first == flat(EpochSteps(lengths, layout, 0))
    assert len(set(first)) == len(first) > 2_900  # 3,000 proteins in blocks of 11: the last one is short
    others = [flat(EpochSteps(lengths, layout, 1)), flat(EpochSteps(lengths, StepLayout(510, 1536, 15_360, 8), 0))]
    for other in others:
        assert np.mean(np.array(first[:1000]) == np.array(other[:1000])) < 0.02


def test_another_process_makes_the_same_plan() -> None:
    code = (
        "import numpy as np; from protea_ray.plan.steps import *; from tests.plan.test_steps import *; "
        "print(flat(EpochSteps(real_lengths(800), StepLayout(254, 1536, 9_000, 3), 4))[:200])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(flat(EpochSteps(real_lengths(800), StepLayout(254, 1536, 9_000, 3), 4))[:200])


@pytest.mark.parametrize(
    ("crop", "pack", "step"), [(510, 1_536, 15_360), (1_022, 32_768, 131_072), (254, 1_536, 6_144)]
)
def test_packs_are_full_and_mixed(crop: int, pack: int, step: int) -> None:
    lengths = real_lengths(20_000)
    layout = StepLayout(crop, pack, step, seed=0)
    plan = EpochSteps(lengths, layout, 0)
    tokens = np.minimum(lengths, crop) + 2
    packs = [p for s in range(plan.steps) for p in plan.packs(s)]
    assert np.mean([tokens[p].sum() for p in packs]) >= 0.95 * pack
    # a step is a sample of the whole: its mean row number stands where that of the data set does
    means = np.array([np.concatenate(plan.packs(s)).mean() for s in range(plan.steps)])
    counts = np.array([len(np.concatenate(plan.packs(s))) for s in range(plan.steps)])
    assert np.abs(means.mean() - 10_000) < 300
    assert np.std(means) > 20_000 / np.sqrt(12) / np.sqrt(counts.mean()) / 2


def test_packs_with_room_left_come_at_any_time() -> None:
    """Best fit leaves the last packs open: where they stood last, they would be those that an epoch leaves out."""
    lengths = real_lengths(4_000)
    places = []
    for epoch in range(8):
        plan = EpochSteps(lengths, StepLayout(510, 1_536, 1_536, seed=0), epoch)
        filled = np.array([(np.minimum(lengths[plan.packs(s)[0]], 510) + 2).sum() for s in range(plan.steps)])
        places += (np.argsort(filled)[:20] / plan.steps).tolist()
    assert abs(np.mean(places) - 0.5) < 4 * np.sqrt(1 / 12 / len(places))


def test_neighbours_are_read_together() -> None:
    lengths = np.full(256 * 300, 100)
    plan = EpochSteps(lengths, StepLayout(100, 1_020, 10_200, 0), 0)
    first = np.concatenate([np.concatenate(plan.packs(s)) for s in range(80)])  # 8,000 of the first 8,192 proteins
    assert len(np.unique(first // 256)) == 32
    assert np.abs(np.diff(first)).min() >= 1 and np.median(np.abs(np.diff(first))) > 1_000


def test_crops_lie_inside_and_come_everywhere() -> None:
    layout = StepLayout(crop=10, pack_tokens=64, step_tokens=64, seed=5)
    lengths = np.array([3, 10, 11, 30] * 500)
    starts = crop_starts(layout, 2, np.arange(2_000), lengths)
    assert (starts >= 0).all() and (starts + np.minimum(lengths, 10) <= lengths).all()
    assert (starts[lengths <= 10] == 0).all()
    assert set(starts[lengths == 11].tolist()) == {0, 1}
    assert set(starts[lengths == 30].tolist()) == set(range(21))
    counts = np.bincount(starts[lengths == 30], minlength=21)
    assert ((counts - 500 / 21) ** 2 / (500 / 21)).sum() < 45  # chi square of 20 degrees, p = 0.001
    assert [int(crop_starts(layout, 2, np.array([i]), lengths[i : i + 1])[0]) for i in range(50)] == starts[
        :50
    ].tolist()
    assert (crop_starts(layout, 3, np.arange(2_000), lengths) != starts).any()


def test_hashing_is_splitmix64() -> None:
    # the first outputs of SplitMix64 from state 1234567, as published with the reference implementation
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert hashing.draws(np.array([1234567], np.uint64), np.arange(5)).tolist() == known


def test_keys_differ_by_every_word_and_by_their_order() -> None:
    keys = [int(hashing.keyed(*words)[0]) for words in [(1, 2), (2, 1), (1, 2, 0), (0, 1, 2), (1,), (1, 3)]]
    assert len(set(keys)) == len(keys)
    assert hashing.keyed(4, np.array([1, 2])).tolist() == [int(hashing.keyed(4, i)[0]) for i in (1, 2)]
    numbers = hashing.uniform(hashing.draws(hashing.keyed(0), np.arange(100_000)))
    assert abs(numbers.mean() - 0.5) < 0.004 and numbers.min() >= 0 and numbers.max() < 1


def test_every_mistake_of_a_layout_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        StepLayout(crop=510, pack_tokens=256, step_tokens=128, seed=0)
    assert len(error.value.problems) == 2
    assert "at least 512" in str(error.value)


def test_too_few_proteins_for_a_step_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"3 proteins fill 1 pack"):
        EpochSteps(np.array([5, 6, 7]), StepLayout(10, 64, 640, 0), 0)
    plan = EpochSteps(np.full(10, 30), StepLayout(30, 64, 64, 0), 0)
    with pytest.raises(IndexError):
        plan.packs(plan.steps)
