"""Every checkpoint is a model: for this package's encoder, for transformers, and whole whatever killed its writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from protea_ray.errors import TrainingError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.train import model_files
from protea_ray.train.masked_model import MaskedModel
from tests.encoder.conftest import load
from tests.train.runs import VOCABULARY, newest, recipe, same, train, weights

TEXT = "MKTAYIAKQRQISFVKSHFSRQ"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of twenty steps with averaged weights."""
    place = tmp_path_factory.mktemp("run")
    train(recipe(place, ema=0.5), place / "out", keep=2)
    return place / "out"


def test_transformers_and_the_training_model_agree_on_a_checkpoint(out: Path) -> None:
    checkpoint = newest(out)
    theirs = AutoModelForMaskedLM.from_pretrained(checkpoint).eval()
    tokens = AutoTokenizer.from_pretrained(checkpoint)(TEXT, return_tensors="pt")["input_ids"]
    assert tokens[0].tolist() == [0, *(VOCABULARY.index(letter) for letter in TEXT), 2]
    tokens[0, 5] = VOCABULARY.index("<mask>")
    with torch.no_grad():
        expected = theirs(tokens).logits[0]
    ours = MaskedModel.load(checkpoint, device="cpu", dtype="float32").eval()
    n = tokens.shape[1]
    with torch.no_grad():
        found = ours.logits(tokens[0], torch.arange(n), torch.tensor([0, n], dtype=torch.int32), np.array([0, n]),
                            torch.arange(n))  # fmt: skip
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert found.std() > 0.01


def test_the_encoder_gives_the_states_of_transformers(out: Path) -> None:
    theirs = AutoModelForMaskedLM.from_pretrained(out / "model").eval()
    tokens = AutoTokenizer.from_pretrained(out / "model")(TEXT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = theirs.esm(tokens).last_hidden_state[0, 1:-1].mean(0)
    (found,) = load(
        out / "model", {"pooling": ("mean",), "layers": (0,), "window_overlap": 8, "normalize": False}
    ).embed([TEXT])
    np.testing.assert_allclose(found.pooled["mean"][0], expected.numpy(), rtol=0, atol=1e-5)


def test_the_model_at_the_end_is_the_best_checkpoint_and_carries_its_marker(out: Path) -> None:
    best = out / json.loads((out / "best.json").read_text())["directory"]
    assert same(best, out / "model")
    for directory in (newest(out), out / "model"):
        opened = open_checkpoint(str(directory))
        assert opened.trained and opened.facts.trained_length == 40 and opened.facts.has_lm_head
    assert not (out / "model" / "optimizer.safetensors").exists()
    marker = json.loads((out / "model" / "config.json").read_text())["protea_ray"]
    plan = json.loads((out / "plan.json").read_text())
    assert marker["plan"] == plan["digest"] and marker["parent"]["seed"] == 0 and marker["attention"] == "exact"


def test_a_checkpoint_has_no_pickle_and_says_where_the_run_stands(out: Path) -> None:
    names = {path.name for path in newest(out).iterdir()}
    assert names == {"model.safetensors", "config.json", "vocab.txt", "tokenizer_config.json", "optimizer.safetensors",
                     "state.json"}  # fmt: skip
    state = json.loads((newest(out) / "state.json").read_text())
    assert (state["step"], state["world"], state["schema"]) == (20, 1, 1)
    assert state["plan"] == json.loads((out / "plan.json").read_text())["digest"]
    assert {"torch", "transformers"} <= state["versions"].keys() and state["data"]["digest"]
    held = model_files.read_optimizer(newest(out))
    assert {name.split(".")[0] for name in held} == {"raw", "state"}
    raw = held["raw.esm.embeddings.word_embeddings.weight"]
    assert not torch.equal(raw, weights(newest(out))["esm.embeddings.word_embeddings.weight"])  # that is the average


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        directory = tmp_path / "checkpoints" / f"step-{step:08d}"
        directory.mkdir(parents=True)
        (directory / "state.json").write_text("{}")
    (tmp_path / "checkpoints" / ".step-00000006").mkdir()  # a writer was killed
    (tmp_path / "checkpoints" / "step-00000007").mkdir()  # somebody removed its files
    model_files.prune(tmp_path, keep=2, best=2)
    left = [path.name for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert left == ["step-00000002", "step-00000004", "step-00000005", "step-00000007"]
    assert [path.name[-1] for path in model_files.checkpoints(tmp_path)] == ["2", "4", "5"]


def test_a_disk_that_is_full_leaves_the_checkpoint_before(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    config = recipe(tmp_path)
    monkeypatch.setattr(model_files, "write_json", lambda path, value: full() if path.name == "state.json" else None)
    with pytest.raises(TrainingError, match="No space left on device"):
        model_files.write_checkpoint(tmp_path, {"step": 3}, lambda place: None, {"a": torch.zeros(1)})
    assert model_files.checkpoints(tmp_path) == [] and config.crop == 40
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [".step-00000003"]


def test_a_damaged_state_says_what_to_remove(out: Path, tmp_path: Path) -> None:
    broken = tmp_path / "step-00000003"
    broken.mkdir()
    (broken / "state.json").write_text('{"step":')
    (broken / "optimizer.safetensors").write_bytes(b"\x10")
    for read in (model_files.read_state, model_files.read_optimizer):
        with pytest.raises(TrainingError, match=r"step-00000003: the run then goes on from the checkpoint before"):
            read(broken)
