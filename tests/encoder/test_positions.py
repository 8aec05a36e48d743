"""What docs/positions.md says of positions is true of these formulas, of transformers' code, and of our models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import EsmConfig, EsmModel
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.esm.modeling_esm import EsmRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.t5.modeling_t5 import T5Attention

from protea_ray.encoder.encoder import Encoder
from protea_ray.encoder.positions import alibi_slopes, frequencies, rotated, sinusoidal_table, t5_buckets, unseen
from protea_ray.errors import CheckpointError
from protea_ray.models.families import recognise
from protea_ray.models.families.t5 import relative_bias
from tests.encoder.conftest import load, proteins
from tests.encoder.reference import Reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "positions.md"
WHOLE = {"pooling": ["none"], "normalize": False}


def by_distance(scores: np.ndarray, tolerance: float) -> np.ndarray:
    """The first row of a square matrix whose every entry (i, j) is the same for one j - i; fails for any other."""
    length = len(scores)
    for distance in range(-length + 1, length):
        along = np.diagonal(scores, distance)
        np.testing.assert_allclose(along, along[0], atol=tolerance)
    return scores[0]


def residues(encoder: Encoder, letters: str) -> np.ndarray:
    (result,) = encoder.embed([letters])
    return result.residues[0]  # type: ignore[union-attr, index]


# --- none --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["esm2", "esmc"])
def test_without_positions_a_protein_is_a_set_of_residues(checkpoint: Callable[[str], Path], family: str) -> None:
    made, (letters,) = load(checkpoint(family), WHOLE), proteins(60)
    order = np.random.default_rng(0).permutation(60)
    shuffled = "".join(letters[i] for i in order)
    assert np.abs(residues(made, shuffled) - residues(made, letters)[order]).max() > 0.1

    module: Any = made.module
    (module.rotary_emb if family == "esmc" else module.rotary_embeddings).inv_freq.zero_()

    np.testing.assert_allclose(residues(made, shuffled), residues(made, letters)[order], atol=1e-5)


# --- absolute ----------------------------------------------------------------------------------------------------


def test_products_of_sinusoids_depend_on_the_distance() -> None:
    table = sinusoidal_table(300, 32)

    row = by_distance(table @ table.T, 1e-9)

    assert row[0] == pytest.approx(16) and row[0] > row[1] > row[2]
    np.testing.assert_allclose(table[7, :16], [np.sin(7 / 10_000 ** (2 * k / 32)) for k in range(16)], atol=1e-12)


def test_a_learned_table_ends(checkpoint: Callable[[str], Path]) -> None:
    """ESM-1b: a row a position, none past the last; refused by its configuration."""
    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=40, position_embedding_type="absolute",
    )  # fmt: skip
    model: Any = EsmModel(config, add_pooling_layer=False).eval()

    model(input_ids=torch.full((1, 38), 5))
    with pytest.raises(IndexError):
        model(input_ids=torch.full((1, 39), 5))
    with pytest.raises(CheckpointError, match="positions are 'absolute', not 'rotary'"):
        recognise(config.to_dict(), checkpoint("esm2"))


def test_a_copied_position_table_changes_nothing(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """Positions 1,026 to 2,050 by copying, as arXiv 2501.07747 makes them: a rotary model never reads the table."""
    source, (letters,) = checkpoint("esm2"), proteins(1500)
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    table = torch.randn(1026, 32)
    weights = load_file(source / "model.safetensors")
    copied = torch.cat([table, table[2:]])
    save_file(weights | {"esm.embeddings.position_embeddings.weight": copied}, tmp_path / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    config = json.loads((source / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2050}))

    plain = [Reference("esm2", directory).residues(letters) for directory in (source, tmp_path)]
    recipe = WHOLE | {"max_residues": 1500}
    ours = [residues(load(directory, recipe), letters) for directory in (source, tmp_path)]

    assert np.array_equal(*plain) and np.array_equal(*ours)
    assert len(copied) == 2050 and load(tmp_path, WHOLE).recipes[0].max_residues == 2046  # what it claims


# --- rotary ------------------------------------------------------------------------------------------------------


def test_rotations_are_those_of_transformers() -> None:
    rows = np.random.default_rng(1).normal(size=(2, 50, 16))
    config = EsmConfig(hidden_size=32, num_attention_heads=2, position_embedding_type="rotary")
    cos, sin = EsmRotaryEmbedding(config)(torch.zeros(1, 50, 32), torch.arange(50)[None])
    q, k = (torch.tensor(one, dtype=torch.float32)[None, None] for one in rows)

    wanted = apply_rotary_pos_emb(q, k, cos, sin)

    for one, turned in zip(rows, wanted, strict=True):
        np.testing.assert_allclose(rotated(one, frequencies(16)), turned[0, 0], atol=1e-5)


@pytest.mark.parametrize("width", [16, 64])
def test_rotary_scores_depend_on_the_distance(width: int) -> None:
    query, key = np.random.default_rng(2).normal(size=(2, width))

    turned = [rotated(np.tile(one, (400, 1)), frequencies(width)) for one in (query, key)]

    row = by_distance(turned[0] @ turned[1].T, 1e-5)
    assert row[0] == pytest.approx(query @ key) and np.ptp(row) > 1


def test_a_model_with_rotary_positions_does_not_see_where_they_begin(reference: Callable[[str], Reference]) -> None:
    plain, (letters,) = reference("esm2"), proteins(80)
    ids = torch.tensor([plain.ids(letters)])
    with torch.inference_mode():
        here, there = (
            plain.model(input_ids=ids, position_ids=torch.arange(82)[None] + first).last_hidden_state
            for first in (0, 700)
        )

    torch.testing.assert_close(here, there, atol=2e-4, rtol=0)


SLOW_PAIRS = {16: (8, 3, 2), 24: (12, 5, 4), 32: (16, 7, 5), 64: (32, 14, 11)}  # pairs, over 1,024, no half turn


@pytest.mark.parametrize("width", SLOW_PAIRS)
def test_how_many_pairs_meet_angles_that_training_never_showed(width: int) -> None:
    turns = frequencies(width)
    found = len(turns), int((2 * np.pi / turns > 1024).sum()), int(unseen(turns, 1022).sum())

    assert found == SLOW_PAIRS[width]
    assert f"| {width} | {' | '.join(map(str, found))} |" in PAGE.read_text()


# --- biases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("buckets", "last_begins"), [(32, 91), (64, 113)])  # ProtT5 and ProstT5, Ankh
def test_buckets_are_those_of_transformers_and_end_at_128(buckets: int, last_begins: int) -> None:
    distances = np.arange(-40_000, 40_001)

    found = t5_buckets(distances, buckets)

    wanted = T5Attention._relative_position_bucket(torch.from_numpy(distances), num_buckets=buckets)
    np.testing.assert_array_equal(found, wanted)
    assert set(found[distances >= 128]) == {buckets - 1} and set(found[distances <= -128]) == {buckets // 2 - 1}
    assert distances[found == buckets - 1].min() == last_begins
    assert set(found) == set(range(buckets)) - {buckets // 2}  # no key after the query is 0 away


def test_the_bias_of_our_t5_models_is_a_table_of_257_distances(checkpoint: Callable[[str], Path]) -> None:
    module: Any = load(checkpoint("t5"), WHOLE).module
    attention = module.encoder.block[0].layer[0].SelfAttention
    with torch.inference_mode():
        table, whole = relative_bias(attention), attention.compute_bias(700, 700)[0]

    assert table.shape == (4, 257)
    for i, j in [(0, 0), (3, 10), (500, 372), (0, 128), (0, 699), (699, 0)]:
        assert torch.equal(whole[:, i, j], table[:, 128 + max(-128, min(128, j - i))])


@pytest.mark.parametrize("heads", [1, 4, 8, 12, 20])
def test_slopes_are_those_of_bloom(heads: int) -> None:
    bias = build_alibi_tensor(torch.ones(1, 3), heads, torch.float32)[:, 0]  # slope times position

    np.testing.assert_allclose(alibi_slopes(heads), bias[:, 1], rtol=1e-6)
    assert alibi_slopes(8).tolist() == [2.0**-k for k in range(1, 9)]


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_page_has_a_row_for_each_way() -> None:
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", PAGE.read_text(), re.MULTILINE)

    assert rows == ["none", "sinusoidal", "learned", "rotary", "T5 bias", "ALiBi"]
