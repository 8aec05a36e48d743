"""Every family, every layer, aggregation and pooling against transformers alone, one protein at a time."""

from itertools import product

import numpy as np
import pytest

from protea_ray.testing.random_checkpoint import FAMILIES
from tests.encoder.conftest import proteins
from tests.encoder.reference import aggregate, pool, unit

TOLERANCE = 1e-5
LENGTHS = (1, 2, 3, 16, 127, 130, 511, 1022, 3000)
LAYERS = ((0,), (0, 1, 2), (1, 3))


@pytest.fixture(scope="module")
def sequences():
    return proteins(*LENGTHS)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_state_equals_transformers(family, encoder, reference, sequences):
    plain = reference(family)
    recipes = [{"layers": (layer,), "pooling": ("none",), "max_residues": 3000} for layer in range(4)]
    results = list(encoder(family, *recipes).embed(sequences))
    assert len(results) == 4 * len(sequences)
    states = {index: plain.residues(sequence) for index, sequence in enumerate(sequences)}
    for result in results:
        expected = states[result.index][3 - result.recipe]
        assert result.residues[0].shape == (len(sequences[result.index]), 32)
        assert np.abs(result.residues[0] - expected).max() < TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_every_recipe_equals_the_reference_and_all_share_one_forward_pass(family, encoder, reference, sequences):
    plain = reference(family)
    options = list(product(LAYERS, ("mean", "last", "concat"), (True, False), (True, False)))
    recipes = [
        {
            "layers": layers, "layer_agg": how, "normalize": normalize, "normalize_residues": by_residue,
            "pooling": ("mean", "max", "mean_max", "std"), "max_residues": 3000,
        }
        for layers, how, normalize, by_residue in options
    ]  # fmt: skip
    run = encoder(family, *recipes)
    results = list(run.embed(sequences))
    assert len(results) == len(recipes) * len(sequences)
    assert run.stats.windows == len(sequences)
    assert run.stats.tokens == sum(LENGTHS) + len(LENGTHS) * run.alphabet.specials
    states = {index: plain.residues(sequence) for index, sequence in enumerate(sequences)}
    for result in results:
        layers, how, normalize, by_residue = options[result.recipe]
        rows = aggregate(states[result.index], layers, how)
        rows = unit(rows) if by_residue else rows
        for pooling, vectors in result.pooled.items():
            expected = pool(rows, pooling)
            expected = unit(expected) if normalize else expected
            assert vectors.shape == (1, len(expected))
            assert np.abs(vectors[0] - expected).max() < TOLERANCE, (options[result.recipe], pooling)


@pytest.mark.parametrize("family", ["esm2", "esmc"])
@pytest.mark.parametrize("layers", LAYERS)
def test_cls_is_the_first_token_of_the_first_window(family, layers, encoder, reference):
    sequences = proteins(1, 40, 900)
    fields = {"layers": layers, "pooling": ("cls",), "normalize": False, "normalize_residues": True}
    for result in encoder(family, fields).embed(sequences):
        expected = aggregate(reference(family).states(sequences[result.index]).numpy()[:, :1], layers, "mean")
        assert np.abs(result.pooled["cls"] - expected).max() < TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_on_a_cpu_stays_near_float32(family, encoder):
    sequences = proteins(5, 60, 300)
    exact = {r.index: r.pooled["mean"] for r in encoder(family, {}).embed(sequences)}
    for result in encoder(family, {"dtype": "bfloat16"}).embed(sequences):
        assert np.abs(result.pooled["mean"] - exact[result.index]).max() < 0.02


def test_stored_precision_and_the_facts_of_a_result(encoder):
    run = encoder("esm2", {"store_dtype": "float16", "pooling": ("mean", "none")}, {})
    half, full = sorted(run.embed(proteins(50)), key=lambda result: result.recipe)
    assert half.pooled["mean"].dtype == half.residues[0].dtype == np.float16
    assert full.pooled["mean"].dtype == np.float32
    assert full.residues is None
    assert np.array_equal(half.pooled["mean"], full.pooled["mean"].astype(np.float16))
    assert (half.n_residues_seen, half.n_windows, half.truncated) == (50, 1, False)
    assert half.spans.tolist() == [[0, 50]]
    assert half.spans.dtype == np.int32


def test_the_forward_pass_stops_after_the_deepest_layer_that_is_needed(encoder, monkeypatch):
    run = encoder("esm2", {"layers": (2,)})
    calls = []
    for number, layer in enumerate(run.core.stack.layers):
        layer.register_forward_hook(lambda *_, number=number: calls.append(number))
    run.core.stack.norm.register_forward_hook(lambda *_: calls.append("norm"))
    assert len(list(run.embed(proteins(10)))) == 1
    assert calls == [0]
