"""`stitch: average`: row p of a long protein is the mean of row p of its windows, here by plain transformers."""

from __future__ import annotations

import numpy as np
import pytest

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.averaging import PositionAverage
from protea_ray.encoder.layout import layout
from tests.encoder.conftest import proteins
from tests.encoder.reference import pool

TOLERANCE = 1e-5
AVERAGED = {"max_residues": 100, "stitch": "average", "normalize": False}
POOLINGS = ("mean", "max", "mean_max", "std")


def averaged(reference, sequence: str, size: int) -> np.ndarray:
    """(size, D): each window of `size` residues, end to end, through the plain model, and numpy's mean by position."""
    windows = [reference.residues(sequence[at : at + size])[-1] for at in range(0, len(sequence), size)]
    return np.stack([np.mean([rows[p] for rows in windows if p < len(rows)], 0) for p in range(size)])


@pytest.mark.parametrize("family", ["esm2", "t5"])
@pytest.mark.parametrize("length", [101, 199, 200, 250])
def test_the_rows_of_windows_are_averaged_by_position(family, length, encoder, reference):
    (sequence,) = proteins(length)
    (result,) = encoder(family, AVERAGED | {"pooling": POOLINGS}, token_budget=150).embed([sequence])
    rows = averaged(reference(family), sequence, 100)
    for pooling in POOLINGS:
        assert np.abs(result.pooled[pooling][0] - pool(rows, pooling)).max() < TOLERANCE
    count = -(-length // 100)
    assert (result.n_windows, result.n_residues_seen, result.truncated) == (count, length, False)
    assert result.spans.tolist() == [[0, length]]
    assert result.residues is None and result.logits is None


def test_a_short_last_window_weighs_by_its_positions(encoder, reference):
    """The mean is over positions: a residue that shares its position with two others counts a third."""
    (sequence,) = proteins(250)
    (result,) = encoder("esm2", AVERAGED).embed([sequence])
    rows = reference("esm2")
    windows = [rows.residues(sequence[at : at + 100])[-1].astype(np.float64) for at in (0, 100, 200)]
    expected = sum(w[:50].sum(0) / 3 for w in windows) + sum(w[50:].sum(0) / 2 for w in windows[:2])
    assert np.abs(result.pooled["mean"][0] - expected / 100).max() < TOLERANCE


def test_cls_is_the_mean_over_windows(encoder, reference):
    (sequence,) = proteins(250)
    cut = [sequence[at : at + 100] for at in (0, 100, 200)]
    expected = np.mean([reference("esm2").states(part)[-1, 0].numpy() for part in cut], 0)
    run = encoder("esm2", AVERAGED | {"pooling": ("cls",)}, AVERAGED | {"pooling": ("mean", "cls")})
    for result in run.embed([sequence]):
        assert np.abs(result.pooled["cls"][0] - expected).max() < TOLERANCE
        assert (result.n_windows, result.truncated) == (3, False)


def test_a_protein_of_one_window_is_what_it_always_was(encoder):
    sequences = proteins(100, 40, 7)
    fields = {"max_residues": 100, "pooling": (*POOLINGS, "cls"), "window_overlap": 0, "store_dtype": "float16"}
    for alone in (sequences, [*sequences, *proteins(250, seed=1)]):
        both = encoder("esm2", fields, fields | {"stitch": "average"})
        found = {(result.index, result.recipe): result for result in both.embed(alone)}
        for index in range(3):
            owner, average = (found[index, recipe].pooled for recipe in (0, 1))
            assert all(np.array_equal(owner[name], average[name]) for name in owner)


def test_layers_and_residues_of_unit_length_are_averaged_after_they_are_made(encoder, reference):
    (sequence,) = proteins(150)
    fields = AVERAGED | {"layers": (0, 1), "layer_agg": "concat", "normalize_residues": True, "pooling": ("max",)}
    (result,) = encoder("esm2", fields).embed([sequence])
    rows = [reference("esm2").residues(part) for part in (sequence[:100], sequence[100:])]
    wide = [np.concatenate([states[-1], states[-2]], 1) for states in rows]
    unit = [w / np.linalg.norm(w, axis=1, keepdims=True) for w in wide]
    expected = np.concatenate([(unit[0][:50] + unit[1]) / 2, unit[0][50:]]).max(0)
    assert np.abs(result.pooled["max"][0] - expected).max() < TOLERANCE


def test_windows_that_come_in_any_order_give_the_same_bits():
    random = np.random.default_rng(0)
    windows = [(random.normal(size=(n, 3)) * 10.0 ** random.integers(-6, 6, (n, 1))).astype("f4") for n in (5, 5, 5, 2)]
    found = []
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        average = PositionAverage()
        for number in order:
            average.add(number, windows[number])
        found.append(average.poolings())
    for other in found[1:]:
        assert all(np.array_equal(found[0][name], other[name]) for name in found[0])


def test_windows_lie_end_to_end_past_max_residues_alone():
    recipe = EmbeddingConfig.model_validate({"model": "m", "max_residues": 100, "stitch": "average"})
    short, long = layout(100, recipe), layout(201, recipe)
    assert short is not None and long is not None
    assert (short.windows, short.is_averaged) == (((0, 100),), False)
    assert (long.windows, long.is_averaged) == (((0, 100), (100, 200), (200, 201)), True)
    assert (long.spans, long.seen, long.cls) == (((0, 201),), 201, ())
