"""A protein's vectors depend on its letters alone: not on neighbours, order, pack size or recipes beside it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protea_ray.testing.random_checkpoint import FAMILIES
from tests.encoder.conftest import ALL_LETTERS, proteins

PROTEIN = proteins(70, seed=9)[0]
FIELDS = {"pooling": ("mean", "max", "none"), "max_residues": 60, "window_overlap": 20}


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    neighbours=st.lists(st.text(ALL_LETTERS, min_size=1, max_size=120), max_size=8),
    place=st.integers(0, 8),
    budget=st.integers(1, 600),
)
def test_alone_or_packed_with_anyone(family, encoder, neighbours, place, budget):
    run = encoder(family, FIELDS)
    (alone,) = run.embed([PROTEIN])
    run.token_budget = budget
    place = min(place, len(neighbours))
    results = list(run.embed([*neighbours[:place], PROTEIN, *neighbours[place:]]))
    assert sorted(result.index for result in results) == list(range(len(neighbours) + 1))
    (packed,) = (result for result in results if result.index == place)
    assert np.abs(packed.residues[0] - alone.residues[0]).max() < 1e-5
    for pooling in ("mean", "max"):
        assert np.abs(packed.pooled[pooling] - alone.pooled[pooling]).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_test_would_see_a_leak(family, encoder):
    """With the border between two proteins removed, the states move far outside the tolerance."""
    import torch

    run = encoder(family, {"pooling": ("none",)})
    ids = [run.alphabet.window(run.alphabet.residues(p)) for p in proteins(30, 30)]
    with torch.inference_mode():
        pack = run.core.pack(ids)
        rows = np.array([0, pack.tokens])
        leaky = type(pack)(pack.ids, pack.positions, torch.tensor(rows, dtype=torch.int32), rows)
        (_, apart), (_, mixed) = (next(run.core.states(p, frozenset({3}))) for p in (pack, leaky))
    assert (apart - mixed).abs().max() > 0.1


def test_another_run_of_the_same_encoder_gives_the_same_bits(encoder):
    run = encoder("esmc", FIELDS)
    sequences = proteins(5, 70, 70, 33)
    first, second = ({r.index: r for r in run.embed(sequences)} for _ in range(2))
    assert all(np.array_equal(first[i].pooled["mean"], second[i].pooled["mean"]) for i in range(4))
