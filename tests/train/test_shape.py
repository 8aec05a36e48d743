"""Fresh checkpoints: sizes, weights, files, and the length that a model was trained on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from protea_ray.config.resolution import ModelFacts
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import open_checkpoint, read_config
from protea_ray.models.families import recognise
from protea_ray.models.untrained import is_trained
from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.shape import SHAPES, shape_config, write_fresh
from tests.train.packs import PLAIN, masked_pack
from tests.train.vocabularies import TOKENS

ESMC = {
    "model_type": "esmc", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256,
}  # fmt: skip
ESM2 = {
    "model_type": "esm", "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96,
}  # fmt: skip


def as_file(directory: Path, config: Any) -> str:
    path = directory / "shape.json"
    path.write_text(json.dumps(config))
    return str(path)


def facts(directory: Path) -> ModelFacts:
    config = read_config(directory)
    return recognise(config, directory).facts(config)


def parameters(config: dict[str, Any]) -> int:
    """By hand: a tied embedding, each layer, the last norm, and the head."""
    d, f = config["hidden_size"], config["intermediate_size"]
    layer = 4 * (d * d + d) + 2 * d * f + f + d + 4 * d
    return 33 * d + config["num_hidden_layers"] * layer + 2 * d + (d * d + d) + 2 * d + 33


def test_named_shapes_have_the_sizes_of_their_papers() -> None:
    config = {name: shape_config(name) for name in SHAPES}
    sizes = {
        n: (c["num_hidden_layers"], c["hidden_size"], c["num_attention_heads"], c["intermediate_size"])
        for n, c in config.items()
    }
    assert sizes == {
        "small": (4, 256, 4, 1024), "default": (6, 320, 5, 1280), "8M": (6, 320, 20, 1280),
        "35M": (12, 480, 20, 1920), "150M": (30, 640, 20, 2560), "650M": (33, 1280, 20, 5120),
    }  # fmt: skip
    millions = {name: parameters(settings) / 1e6 for name, settings in config.items()}
    expected = {"small": 3.2, "default": 7.5, "8M": 7.5, "35M": 33.5, "150M": 148, "650M": 651}
    assert millions == {name: pytest.approx(count, rel=0.02) for name, count in expected.items()}
    assert not any(settings["token_dropout"] for settings in config.values())


def test_small_is_written_as_transformers_initialises_it(tmp_path: Path) -> None:
    directory = write_fresh(tmp_path / "a", "small", seed=1, crop=510)
    held = load_file(directory / "model.safetensors")
    assert sum(t.numel() for n, t in held.items() if "inv_freq" not in n) == parameters(shape_config("small"))
    for name, tensor in held.items():
        if "inv_freq" in name:
            assert torch.allclose(tensor, torch.tensor([10_000 ** (-k / 32) for k in range(32)]), rtol=3e-7)
        elif tensor.ndim > 1:
            assert tensor.std().item() == pytest.approx(0.02, rel=0.03)
            assert abs(tensor.mean().item()) < 5 * 0.02 / math.sqrt(tensor.numel())
        else:
            assert torch.equal(tensor, torch.full_like(tensor, float("norm" in name.lower() and "weight" in name)))
    assert not held["esm.embeddings.word_embeddings.weight"][1].any()
    assert (directory / "vocab.txt").read_text().split() == TOKENS

    opened = open_checkpoint(str(directory))
    assert (opened.trained, opened.facts.has_lm_head, opened.facts.trained_length) == (False, True, 510)
    model, info = PLAIN["esm2"].from_pretrained(directory, output_loading_info=True)
    assert {name for name in info["missing_keys"] if "contact_head" not in name} == set()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in held.items())


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    shape = as_file(tmp_path, ESM2)
    files = [
        (write_fresh(tmp_path / str(n), shape, seed) / "model.safetensors").read_bytes()
        for n, seed in enumerate((7, 7, 8))
    ]
    assert files[0] == files[1] != files[2]
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("config", "family"), [(ESM2, "esm2"), (ESMC, "esmc")])
def test_a_shape_from_a_file_trains(config: dict[str, Any], family: str, tmp_path: Path) -> None:
    directory = write_fresh(tmp_path / "made", as_file(tmp_path, config), seed=0, crop=100)
    opened = open_checkpoint(str(directory))
    assert (opened.facts.family, opened.facts.trained_length, opened.trained) == (family, 100, False)
    assert opened.shape.hidden == config["hidden_size"]
    model = MaskedModel.load(directory, device="cpu", dtype="float32")
    pack = masked_pack(80, 60)
    loss = model(**model.to_device(pack)).item() / len(pack.targets)
    assert loss == pytest.approx(math.log(opened.shape.vocabulary), abs=0.2)
    _, info = PLAIN[family].from_pretrained(directory, output_loading_info=True)
    assert {name for name in info["missing_keys"] if "contact_head" not in name} == set()


def test_what_a_file_says_is_kept(tmp_path: Path) -> None:
    said = ESM2 | {"token_dropout": True, "layer_norm_eps": 1e-6, "protea_ray": {"trained": True}}
    config = shape_config(as_file(tmp_path, said), crop=300)
    assert (config["token_dropout"], config["layer_norm_eps"], config["max_position_embeddings"]) == (True, 1e-6, 304)
    assert not is_trained(config)


def test_every_mistake_of_a_shape_is_named(tmp_path: Path) -> None:
    wrong = ESM2 | {"hidden_size": 50, "position_embedding_type": "absolute", "vocab_size": 20}
    with pytest.raises(ConfigError) as caught:
        write_fresh(tmp_path / "no", as_file(tmp_path, wrong), 0)
    assert len(caught.value.problems) == 3
    assert not (tmp_path / "no").exists()
    for given, part in (
        ({"model_type": "t5"}, "'t5'"),
        (ESM2 | {"num_hidden_layers": 0, "intermediate_size": None}, "num_hidden_layers is 0"),
        ([1], "not a JSON object"),
        (ESMC | {"num_key_value_heads": 1}, "grouped-query"),
    ):
        with pytest.raises(ConfigError, match=part):
            write_fresh(tmp_path / "no", as_file(tmp_path, given), 0)
    with pytest.raises(ConfigError, match="neither one of small"):
        shape_config("12M")


@pytest.mark.parametrize(("config", "specials"), [(ESM2, 4), (ESMC, 2)])
def test_residues_of_training_win_over_the_position_table(
    config: dict[str, Any], specials: int, tmp_path: Path
) -> None:
    directory = write_fresh(tmp_path / "made", as_file(tmp_path, config), seed=0)
    held = read_config(directory)
    for marker, expected in (
        ({"trained": True, "trained_residues": 2048}, 2048),
        ({"trained": False, "trained_residues": 0}, 1022),
        ({"trained": True}, 1022),
    ):
        (directory / "config.json").write_text(json.dumps(held | {"protea_ray": marker}))
        assert facts(directory).trained_length == expected
    assert held["max_position_embeddings"] == 1022 + specials
