"""Masked residues against transformers alone: one protein, the same mask, no packs; then windows and averages of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import EsmForMaskedLM, EsmTokenizer

from protea_ray.encoder.collect import Rejected
from protea_ray.encoder.masked_loss import masked_places, residue_losses
from protea_ray.errors import EncoderError
from tests.encoder.conftest import load, proteins

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
NONE = {"max_residues": 10_000}


class Plain:
    """transformers' masked-LM model, one window at a time."""

    def __init__(self, directory: Path) -> None:
        self.model = EsmForMaskedLM.from_pretrained(directory).eval()
        self.tokenizer = EsmTokenizer.from_pretrained(directory)
        self.twenty = self.tokenizer.convert_tokens_to_ids(list(AMINO_ACIDS))

    def masked(self, sequence: str, places: list[int]) -> torch.Tensor:
        """(1, L + 2) ids with `<mask>` at the residues `places`."""
        spelt = sequence.replace("J", "X")  # as the family reads it
        ids = self.tokenizer(spelt, return_tensors="pt")["input_ids"]
        for place in places:
            ids[0, place + 1] = self.tokenizer.mask_token_id
        return ids

    def nats(self, sequence: str, places: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Losses of the residues `places` of a window that is `sequence`, over all tokens and over the 20."""
        with torch.inference_mode():
            logits = self.model(self.masked(sequence, places)).logits[0, 1:-1].double()
        return self.losses(logits[places], [sequence[place] for place in places])

    def losses(self, logits: torch.Tensor, letters: list[str]) -> tuple[np.ndarray, np.ndarray]:
        targets = self.tokenizer.convert_tokens_to_ids(letters)
        said = logits[range(len(targets)), targets]
        return tuple((row.logsumexp(1) - said).numpy() for row in (logits, logits[:, self.twenty]))


@pytest.fixture(scope="module")
def directory(checkpoint) -> Path:
    return checkpoint("esm2")


@pytest.fixture(scope="module")
def plain(directory: Path) -> Plain:
    return Plain(directory)


def test_every_residue_has_the_loss_of_transformers(directory: Path, plain: Plain):
    sequences = proteins(1, 2, 30, 64, 301)
    encoder = load(directory, NONE)
    for one, sequence in zip(residue_losses(encoder, sequences, seed=3), sequences, strict=True):
        whole, twenty = plain.nats(sequence, one.places.tolist())
        np.testing.assert_allclose(one.nats, whole, atol=1e-5)
        np.testing.assert_allclose(one.nats_20, twenty, atol=1e-5)
        assert (one.edge == -1).all()


def test_a_protein_without_residues_has_no_losses(directory: Path):
    each = residue_losses(load(directory, NONE), proteins(40, 0, 200))
    assert len(each[1].places) == 0 and each[1].nats.sum() == 0
    assert all(len(one.places) == len(one.nats) == len(one.nats_20) > 0 for one in (each[0], each[2]))


def test_a_residue_is_predicted_in_the_window_that_owns_it(directory: Path, plain: Plain):
    (sequence,) = proteins(250)
    windows = [(0, 90), (53, 143), (107, 197), (160, 250)]  # 90 wide, at least 36 shared; cut in the middle
    owned = [(0, 71), (71, 125), (125, 178), (178, 250)]
    (found,) = residue_losses(load(directory, {"max_residues": 100, "window_overlap": 36}), [sequence])
    assert found.places.tolist() == masked_places(sequence).tolist()
    for (start, end), (first, last) in zip(windows, owned, strict=True):
        inside = [place - start for place in found.places if start <= place < end]
        whole = dict(zip(inside, plain.nats(sequence[start:end], inside)[0], strict=True))
        for place, nats, edge in zip(found.places, found.nats, found.edge, strict=True):
            if first <= place < last:
                assert abs(nats - whole[place - start]) < 1e-5 * max(1, nats / 10)  # logits are float32
                cuts = [place - start] * (start > 0) + [end - 1 - place] * (end < 250)
                assert edge == min(cuts)


def test_the_mask_follows_from_letters_and_seed_alone(directory: Path):
    (sequence,) = proteins(3_000)
    recipes = {"whole": NONE, "windows": {"max_residues": 500}, "local": NONE | {"attention": "local:9"}}
    seen = {
        name: residue_losses(load(directory, fields), [sequence])[0].places.tolist() for name, fields in recipes.items()
    }
    assert seen["whole"] == seen["windows"] == seen["local"] == masked_places(sequence).tolist()
    assert masked_places(sequence, seed=1).tolist() != seen["whole"]
    shown = [sequence[place] for place in seen["whole"]]
    assert set(shown) == set(AMINO_ACIDS)
    count = sum(letter in AMINO_ACIDS for letter in sequence)
    assert abs(len(shown) / count - 0.15) < 3 * (0.15 * 0.85 / count) ** 0.5
    assert hashlib.sha256(str(seen["whole"]).encode()).hexdigest()[:8] == PINNED


PINNED = "8dddcc6f"  # the places of 3,000 letters: a stored comparison must stay comparable


def test_what_is_cut_away_is_not_predicted(directory: Path, plain: Plain):
    (sequence,) = proteins(300)
    (found,) = residue_losses(load(directory, {"max_residues": 120, "on_long": "truncate"}), [sequence])
    assert found.places.tolist() == [place for place in masked_places(sequence).tolist() if place < 120]
    np.testing.assert_allclose(found.nats, plain.nats(sequence[:120], found.places.tolist())[0], atol=1e-5)
    assert found.edge.tolist() == [119 - place for place in found.places]


def test_an_averaged_row_predicts_every_residue_at_its_place(directory: Path, plain: Plain):
    (sequence,) = proteins(250)
    places = masked_places(sequence).tolist()
    rows: dict[int, list[torch.Tensor]] = {}
    for start in (0, 100, 200):  # end to end; the last has 50 rows
        window = sequence[start : start + 100]
        ids = plain.masked(window, [place - start for place in places if start <= place < start + 100])
        with torch.inference_mode():
            states = plain.model.esm(ids).last_hidden_state[0, 1:-1]
        for row, state in enumerate(states):
            rows.setdefault(row, []).append(state)
    means = torch.stack([torch.stack(rows[place % 100]).mean(0) for place in places])
    with torch.inference_mode():
        expected = plain.losses(plain.model.lm_head(means).double(), [sequence[place] for place in places])
    (found,) = residue_losses(load(directory, {"max_residues": 100, "stitch": "average"}), [sequence])
    assert found.places.tolist() == places
    np.testing.assert_allclose(found.nats, expected[0], atol=1e-5, rtol=1e-6)
    np.testing.assert_allclose(found.nats_20, expected[1], atol=1e-5, rtol=1e-6)
    (short,) = residue_losses(load(directory, {"max_residues": 250, "stitch": "average"}), [sequence])
    np.testing.assert_allclose(short.nats, plain.nats(sequence, places)[0], atol=1e-5, rtol=1e-6)


def test_what_a_run_would_reject_is_measured(directory: Path):
    """Two landmarks cannot approximate this model: its certificate fails, and that is what the loss shall show."""
    (sequence,) = proteins(300)
    encoder = load(directory, NONE | {"attention": "nystrom:2"})
    (rejected,) = encoder.embed([sequence])
    assert isinstance(rejected, Rejected)
    (exact,), (poor,) = (residue_losses(one, [sequence]) for one in (load(directory, NONE), encoder))
    assert poor.places.tolist() == exact.places.tolist() and abs(poor.nats.sum() - exact.nats.sum()) > 0.1


def test_neighbours_and_packs_change_nothing(directory: Path):
    sequences = proteins(20, 90, 150, 33, 260, seed=5)
    alone = [residue_losses(load(directory, NONE), [sequence])[0] for sequence in sequences]
    for budget in (64, 4_096):
        packed = residue_losses(load(directory, NONE, token_budget=budget), sequences)
        for one, other in zip(alone, packed, strict=True):
            np.testing.assert_allclose(one.nats, other.nats, atol=1e-5)


def test_a_checkpoint_without_a_head_and_foreign_letters_are_said(checkpoint, directory: Path):
    with pytest.raises(EncoderError, match="no language-model head"):
        residue_losses(load(checkpoint("ankh"), {}), ["MKTAY"])
    with pytest.raises(EncoderError, match="no residues of this model: 1"):
        residue_losses(load(directory, {}), ["MKT1Y"])


def test_esmc_predicts_too(checkpoint):
    (found,) = residue_losses(load(checkpoint("esmc"), {}), proteins(200))
    assert len(found.places) > 10 and found.nats.sum() > found.nats_20.sum() > 0
