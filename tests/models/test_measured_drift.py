"""What is said of an attention that a model was not trained with, with the figures that were measured for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from protea_ray.config.attention_forms import attention_variant
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint
from protea_ray.models.measured_drift import MEASURED, approximation_note
from protea_ray.testing.random_checkpoint import build

ROWS = [
    {"variant": "favor:64,0", "loss_difference": 9.0, "pooled_cosine": None, "neighbours_kept": None},
    {"variant": "nystrom:64", "loss_difference": 0.1234, "pooled_cosine": 0.8126, "neighbours_kept": 0.4},
    {"variant": "bigbird:64,3,1,3,0", "loss_difference": None, "pooled_cosine": None, "neighbours_kept": None},
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(build("esm2", tmp_path_factory.mktemp("drift") / "model")))


def note(checkpoint: Checkpoint, text: str) -> str | None:
    return approximation_note(checkpoint, attention_variant(text))


@pytest.mark.parametrize("text", ["exact", "local:8", "global:8"])
def test_nothing_is_said_of_attention_to_some_of_the_keys(checkpoint: Checkpoint, text: str) -> None:
    assert note(checkpoint, text) is None


def test_what_was_not_measured_names_the_command(checkpoint: Checkpoint) -> None:
    assert note(checkpoint, "nystrom:64") == (
        f"attention nystrom:64 approximates what {checkpoint.model} was trained with, exact. Not measured: "
        f"`protea-ray compare-variants {checkpoint.model} --proteins FASTA --out FOLDER --beside-model` does"
    )


def test_nothing_is_said_of_a_models_own_attention(checkpoint: Checkpoint) -> None:
    own = replace(checkpoint, facts=replace(checkpoint.facts, attention="favor:64,0"))
    assert note(own, "favor:64,0") is None
    assert "was trained with, favor:64,0" in (note(own, "favor:64,1") or "")


def test_measured_figures_are_those_of_the_variant(checkpoint: Checkpoint) -> None:
    files = checkpoint.files
    (checkpoint.path / MEASURED).write_text(json.dumps({"rows": ROWS}))
    try:
        assert (note(checkpoint, "nystrom:64") or "").endswith(
            "Measured: masked loss +0.123 nats beside that of windows, centred cosine of pooled vectors to the exact "
            "ones 0.813, 40% of the 10 nearest neighbours kept"
        )
        assert (note(checkpoint, "favor:64,0") or "").endswith(
            "Measured: masked loss +9.000 nats beside that of windows"
        )
        for unknown in ("bigbird:64,3,1,3,0", "nystrom:32"):
            assert "Not measured" in (note(checkpoint, unknown) or "")
        assert open_checkpoint(checkpoint.model).files == files  # no space gets another name from being measured
    finally:
        (checkpoint.path / MEASURED).unlink()


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 3}', '{"rows": [{}]}', '{"rows": [{"variant": "nystrom:64", '
                                  '"loss_difference": "much"}]}'])  # fmt: skip
def test_a_damaged_file_is_no_error_and_is_said(checkpoint: Checkpoint, text: str, tmp_path: Path) -> None:
    (tmp_path / MEASURED).write_text(text)
    said = note(replace(checkpoint, path=tmp_path), "nystrom:64") or ""
    assert f"{tmp_path / MEASURED}, which should say by how much, cannot be read" in said
