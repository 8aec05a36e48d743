"""What a training run of this package wrote into config.json, and what a damaged one is: an error that says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protea_ray.models.checkpoint import open_checkpoint, read_config
from tests.models.conftest import refused, write


def test_a_published_model_attends_exactly(checkpoint: Path) -> None:
    facts = open_checkpoint(str(checkpoint)).facts
    assert (facts.attention, facts.trained_length) == ("exact", 1022)


def test_a_model_brings_the_attention_and_the_length_it_was_trained_with(tmp_path: Path) -> None:
    directory = write(tmp_path / "m", protea_ray={"trained_residues": 2048, "attention": "local:512"})
    facts = open_checkpoint(str(directory)).facts
    assert (facts.attention, facts.trained_length) == ("local:512", 2048)


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ({"attention": "locale:512"}, "locale:512"),
        ({"attention": 512}, "'512' is not known"),
        ({"attention": None}, "'None' is not known"),
        ({"trained_residues": "2048"}, "trained_residues '2048', not a whole number"),
        ({"trained_residues": -1}, "trained_residues -1"),
        ({"trained_residues": True}, "trained_residues True"),
        (["trained"], "not a JSON object"),
    ],
)
def test_a_damaged_marker_is_an_error_that_names_the_directory(tmp_path: Path, marker: Any, words: str) -> None:
    said = refused(write(tmp_path / "m", protea_ray=marker), words, "protea_ray in config.json")
    assert "Copy the file again" in said


def test_the_untrained_twin_attends_as_its_model(tmp_path: Path) -> None:
    directory = write(tmp_path / "m", protea_ray={"trained_residues": 500, "attention": "local:64", "parent": {}})
    twin = open_checkpoint(f"untrained:{directory}")
    assert (twin.facts.attention, twin.facts.trained_length, twin.trained) == ("local:64", 500, False)
    assert read_config(twin.path)["protea_ray"] == {"trained": False, "trained_residues": 500, "attention": "local:64"}


def test_the_twin_of_a_model_of_exact_attention_is_what_it_always_was(tmp_path: Path) -> None:
    plain, marked = write(tmp_path / "a"), write(tmp_path / "b", protea_ray={"attention": "exact"})
    twins = [open_checkpoint(f"untrained:{directory}") for directory in (plain, marked)]
    assert [json.loads((t.path / "config.json").read_text())["protea_ray"] for t in twins] == [{"trained": False}] * 2
    assert twins[0].files == twins[1].files
