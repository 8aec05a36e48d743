"""Canaries notice an encoder that gives vectors but does not work, and leave one that works alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from protea_ray.config.recipe import embedding_config
from protea_ray.config.resolution import resolve
from protea_ray.encoder.canary import CANARIES, check_canaries
from protea_ray.encoder.collect import Embedded, Rejected
from protea_ray.errors import CheckpointError, EncoderError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.testing.random_checkpoint import FAMILIES, build


class Stub:
    """An encoder whose vector of a protein is `vector(letters, all letters of the call)`."""

    def __init__(self, vector: Callable[[str, Sequence[str]], np.ndarray], recipes: int = 1) -> None:
        self.vector, self.recipes = vector, recipes

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded | Rejected]:
        for index in reversed(range(len(sequences))):
            for recipe in range(self.recipes):
                yield self.result(index, recipe, self.vector(sequences[index], sequences))

    def result(self, index: int, recipe: int, vector: np.ndarray) -> Embedded | Rejected:
        return Embedded(index, recipe, np.array([[0, 1]]), {"mean": vector[None]}, None, 1, 1, False)


def composition(letters: str, _: Sequence[str]) -> np.ndarray:
    counts = np.array([letters.count(letter) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"], np.float32)
    return counts / np.linalg.norm(counts)


def test_an_encoder_that_works():
    seconds = check_canaries(Stub(composition, recipes=2))
    assert 0 < seconds < 1


def test_every_letter_is_sent_and_two_canaries_are_twins():
    assert set("".join(CANARIES.values())) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert len(CANARIES["every letter"]) == len(CANARIES["polyleucine"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_vector_that_is_not_finite(bad: float):
    def vector(letters: str, _: Sequence[str]) -> np.ndarray:
        return np.array([1, bad if "W" in letters else 1], np.float32)

    with pytest.raises(CheckpointError, match="NaN or infinity"):
        check_canaries(Stub(vector))


def test_letters_that_are_not_read():
    def by_length(letters: str, _: Sequence[str]) -> np.ndarray:
        return np.array([1, len(letters)], np.float32)

    with pytest.raises(CheckpointError, match="letters are not read"):
        check_canaries(Stub(by_length))


def test_neighbours_that_leak():
    def mixed(letters: str, all_letters: Sequence[str]) -> np.ndarray:
        return composition(letters, ()) + 0.2 * composition("".join(all_letters), ())

    with pytest.raises(EncoderError, match="mixes proteins"):
        check_canaries(Stub(mixed))


class Refusing(Stub):
    reason = "non_finite"

    def result(self, index: int, recipe: int, vector: np.ndarray) -> Embedded | Rejected:
        return Rejected(index, recipe, self.reason, "why")  # type: ignore[arg-type]


def test_a_canary_that_is_rejected():
    with pytest.raises(CheckpointError, match="was rejected: non_finite, why"):
        check_canaries(Refusing(composition))


def test_a_length_limit_is_the_recipes_own_affair():
    encoder = Refusing(composition)
    encoder.reason = "too_long"
    assert check_canaries(encoder) > 0


RECIPES = (
    {"pooling": ["mean", "max", "std"], "layers": [0, 1], "layer_agg": "concat"},
    {"pooling": ["none"], "max_residues": 20, "window_overlap": 4},
    {"pooling": ["mean"], "chunk_size": 10, "max_residues": 20, "window_overlap": 4},
    {"pooling": ["mean"], "max_residues": 20, "on_long": "reject"},
)


def load(directory: Path | None, recipes: Sequence[dict]):
    from protea_ray.encoder.encoder import Encoder
    from protea_ray.models.checkpoint import read_config
    from protea_ray.models.families import recognise

    opened = open_checkpoint(str(directory) if directory else None)
    resolved = [resolve(embedding_config({"model": "m"} | fields), opened.facts, "cpu", None) for fields in recipes]
    family = recognise(read_config(opened.path), opened.path, opened.facts.family)
    return Encoder.load(opened.path, family, resolved, device="cpu")


@pytest.mark.parametrize("family", FAMILIES)
def test_real_encoders_pass(tmp_path: Path, family: str):
    encoder = load(build(family, tmp_path / family), RECIPES)
    for recipe in encoder.recipes:
        assert check_canaries(encoder.under([recipe])) > 0
    assert check_canaries(encoder) > 0


def test_the_untrained_model_passes():
    pooled = {"pooling": ["mean", "max", "cls", "mean_max", "std"]}
    assert check_canaries(load(None, [pooled, {"layers": [0, 3, 6], "store_dtype": "float32"}])) > 0


def test_the_untrained_model_passes_on_its_cls_alone_and_in_bfloat16():
    assert check_canaries(load(None, [{"pooling": ["cls"], "dtype": "bfloat16"}])) > 0
