"""Windows, truncation, rejection and both kinds of chunks, stitched independently in the reference."""

import numpy as np
import pytest

from protea_ray.encoder.collect import Embedded, Rejected
from protea_ray.testing.random_checkpoint import FAMILIES
from tests.encoder.conftest import proteins
from tests.encoder.reference import pool

TOLERANCE = 1e-5
CUT = {"max_residues": 100, "window_overlap": 30, "normalize": False}
WINDOWS = [(0, 85), (55, 140), (110, 195), (165, 250)]  # 250 residues under CUT: fewest, equal, evenly spaced


def only(results):
    (result,) = results
    return result


@pytest.mark.parametrize("family", FAMILIES)
def test_windows_are_stitched_by_residue(family, encoder, reference):
    sequence = only(proteins(250))
    run = encoder(family, CUT | {"pooling": ("mean", "max", "std", "none")}, token_budget=150)
    result = only(run.embed([sequence]))
    rows = reference(family).stitched(sequence, WINDOWS)[-1]
    assert np.abs(result.residues[0] - rows).max() < TOLERANCE
    for pooling in ("mean", "max", "std"):
        assert np.abs(result.pooled[pooling][0] - pool(rows, pooling)).max() < TOLERANCE
    assert (result.n_windows, result.n_residues_seen, result.truncated) == (4, 250, False)
    assert run.stats.windows == 4
    assert run.stats.tokens == 4 * (85 + run.alphabet.specials)


@pytest.mark.parametrize("family", FAMILIES)
def test_truncation_says_so(family, encoder, reference):
    sequence = only(proteins(250))
    result = only(encoder(family, CUT | {"on_long": "truncate"}).embed([sequence]))
    expected = reference(family).residues(sequence[:100])[-1].mean(0)
    assert np.abs(result.pooled["mean"][0] - expected).max() < TOLERANCE
    assert (result.n_windows, result.n_residues_seen, result.truncated) == (1, 100, True)
    assert result.spans.tolist() == [[0, 100]]


def test_rejection_names_both_lengths(encoder):
    run = encoder("esm2", CUT | {"on_long": "reject"}, CUT)
    results = {(r.index, r.recipe): r for r in run.embed(proteins(250, 100))}
    assert results[0, 0] == Rejected(0, 0, "too_long", "250 residues, max_residues is 100")
    assert all(isinstance(results[key], Embedded) for key in [(0, 1), (1, 0), (1, 1)])


@pytest.mark.parametrize("family", FAMILIES)
def test_posthoc_chunks_are_cut_from_the_whole_protein(family, encoder, reference):
    sequence = only(proteins(250))
    fields = CUT | {"chunk_size": 80, "chunk_overlap": 20, "chunk_mode": "posthoc", "pooling": ("mean", "max", "none")}
    result = only(encoder(family, fields).embed([sequence]))
    rows = reference(family).stitched(sequence, WINDOWS)[-1]
    assert result.spans.tolist() == [[0, 80], [60, 140], [120, 200], [180, 250], [240, 250]]
    for number, (start, end) in enumerate(result.spans):
        assert np.abs(result.residues[number] - rows[start:end]).max() < TOLERANCE
        for pooling in ("mean", "max"):
            assert np.abs(result.pooled[pooling][number] - pool(rows[start:end], pooling)).max() < TOLERANCE
    assert result.n_windows == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_independent_chunks_are_forward_passes_of_their_own(family, encoder, reference):
    sequence = only(proteins(250))
    fields = CUT | {"chunk_size": 80, "chunk_overlap": 20, "pooling": ("mean", "std", "none")}
    run = encoder(family, fields)
    result = only(run.embed([sequence]))
    for number, (start, end) in enumerate(result.spans):
        rows = reference(family).residues(sequence[start:end])[-1]
        assert np.abs(result.residues[number] - rows).max() < TOLERANCE
        assert np.abs(result.pooled["std"][number] - rows.std(0)).max() < TOLERANCE
    assert result.n_windows == len(result.spans) == 5
    assert run.stats.tokens == sum(e - s for s, e in result.spans) + 5 * run.alphabet.specials


def test_an_independent_chunk_longer_than_a_window_has_windows_of_its_own(encoder, reference):
    sequence = only(proteins(260))
    fields = CUT | {"chunk_size": 250, "pooling": ("none",)}
    result = only(encoder("esm2", fields).embed([sequence]))
    rows = reference("esm2").stitched(sequence[:250], WINDOWS)[-1]
    assert np.abs(result.residues[0] - rows).max() < TOLERANCE
    assert np.abs(result.residues[1] - reference("esm2").residues(sequence[250:])[-1]).max() < TOLERANCE
    assert (result.n_windows, result.n_residues_seen) == (5, 260)


def test_truncation_means_the_protein_in_both_chunk_modes(encoder):
    fields = CUT | {"chunk_size": 80, "on_long": "truncate"}
    for mode in ("posthoc", "independent"):
        result = only(encoder("esm2", fields | {"chunk_mode": mode}).embed(proteins(250)))
        assert result.spans.tolist() == [[0, 80], [80, 100]]
        assert (result.n_residues_seen, result.truncated) == (100, True)


def test_cls_ignores_chunks_and_takes_the_first_window(encoder, reference):
    sequence = only(proteins(250))
    expected = reference("esm2").states(sequence[:85])[-1, 0].numpy()
    chunks = {"chunk_size": 80, "chunk_mode": "independent"}
    run = encoder("esm2", CUT | chunks | {"pooling": ("mean", "cls")}, CUT | {"pooling": ("cls",)})
    both, alone = sorted(run.embed([sequence]), key=lambda result: result.recipe)
    assert both.pooled["cls"].shape == (4, 32)
    assert np.abs(both.pooled["cls"] - expected).max() < TOLERANCE
    assert np.abs(alone.pooled["cls"] - expected[None]).max() < TOLERANCE
    assert (alone.n_windows, alone.n_residues_seen, alone.truncated) == (1, 85, True)
    assert (both.n_windows, both.truncated) == (5, False)
    assert run.stats.windows == 5  # four chunks and the first window, which both recipes share


def test_recipes_with_the_same_windows_share_them(encoder):
    posthoc = CUT | {"chunk_size": 40, "chunk_mode": "posthoc", "pooling": ("max",)}
    run = encoder("esm2", CUT, posthoc, CUT | {"layers": (1, 2), "layer_agg": "concat"})
    assert len(list(run.embed(proteins(250, 90)))) == 6
    assert run.stats.windows == 5
