"""The untrained twin of a model: the same tensors with weights that were never trained, the same bytes everywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from protea_ray.config.identity import space_name
from protea_ray.config.recipe import embedding_config
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import CheckpointError, ConfigError
from protea_ray.models.checkpoint import locate, open_checkpoint
from protea_ray.models.misnamed import INDEX
from protea_ray.models.untrained import untrained_checkpoint
from protea_ray.models.weights import read_headers
from protea_ray.pipeline.first_look import look_for_checkpoint
from protea_ray.testing.random_checkpoint import FAMILIES, build
from tests.models.conftest import tensors, write


def twin_of(model: Path | str) -> Path:
    return locate(f"untrained:{model}", None)[0]


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


def sizes(directory: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {t.name: (t.dtype, t.shape) for held in read_headers(directory).values() for t in held}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROTEA_RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_one_that_embeds(tmp_path: Path, family: str) -> None:
    base = open_checkpoint(str(build(family, tmp_path / family)))
    twin = open_checkpoint(f"untrained:{tmp_path / family}")
    assert (base.trained, twin.trained) == (True, False)
    assert twin.model == f"untrained:{tmp_path / family}"
    assert (twin.facts, twin.shape) == (base.facts, base.shape)
    assert twin.files["vocabulary"] == base.files["vocabulary"]
    assert sizes(twin.path) == sizes(base.path)
    encoder = encoder_here(twin, embedding_config({"model": twin.model, "normalize": False}), "cpu")
    found = [result for result in encoder.embed(["MKTAYIAKQR", "WWPGGHHCCD"]) if isinstance(result, Embedded)]
    one, other = (result.pooled["mean"][0] for result in found)
    assert np.isfinite(one).all()
    assert np.abs(one - other).max() > 1e-3


def test_matrices_are_drawn_norms_are_one_and_biases_zero(checkpoint: Path) -> None:
    held = load_file(twin_of(checkpoint) / "model.safetensors")
    original = load_file(checkpoint / "model.safetensors")
    drawn = [values.ravel() for values in held.values() if values.ndim > 1]
    everything = np.concatenate(drawn)
    assert abs(everything.std() / 0.02 - 1) < 0.05
    assert abs(everything.mean()) < 0.002
    assert len({values.tobytes() for values in drawn}) == len(drawn)
    for name, values in held.items():
        if name == "rotary_embeddings.inv_freq":  # no weight: what the model computes with
            np.testing.assert_array_equal(values, original[name])
        elif values.ndim == 1:
            assert set(values.tolist()) == {0.0 if name.endswith("bias") else 1.0}, name


def test_the_deviation_is_that_of_the_configuration(tmp_path: Path) -> None:
    held = load_file(twin_of(write(tmp_path / "wide", initializer_range=0.5)) / "model.safetensors")
    assert abs(held["embeddings.word_embeddings.weight"].std() - 0.5) < 0.1


def test_the_numbers_are_these_on_every_machine(checkpoint: Path) -> None:
    """Workers of other machines make the twin themselves and compare its sha256 with the driver's."""
    held = twin_of(checkpoint) / "model.safetensors"
    drawn = load_file(held)["encoder.layer.1.intermediate.dense.weight"]
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == "55997c2b9608de32"


def test_a_prefix_and_shards_change_no_number(tmp_path: Path, checkpoint: Path) -> None:
    plain = load_file(twin_of(checkpoint) / "model.safetensors")
    prefixed = write(tmp_path / "prefixed", {f"esm.{name}": values for name, values in tensors().items()})
    sharded = write(tmp_path / "sharded")
    (sharded / "model.safetensors").unlink()
    weight_map = {}
    for number, names in enumerate((sorted(tensors())[:9], sorted(tensors())[9:])):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors()[name] for name in names}, sharded / shard)
        weight_map |= dict.fromkeys(names, shard)
    (sharded / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    for other in (load_file(twin_of(directory) / "model.safetensors") for directory in (prefixed, sharded)):
        assert {name.removeprefix("esm.") for name in other} == set(plain)
        for name, values in other.items():
            np.testing.assert_array_equal(values, plain[name.removeprefix("esm.")])


def test_half_precision_stays_half_and_a_second_name_is_the_same_tensor(tmp_path: Path) -> None:
    base = build("t5", tmp_path / "t5")
    held = load_file(base / "model.safetensors")
    held |= {
        "encoder.embed_tokens.weight": held["shared.weight"].copy(),
        "decoder.final_layer_norm.weight": held["encoder.final_layer_norm.weight"].copy(),
    }
    save_file({name: values.astype(np.float16) for name, values in held.items()}, base / "model.safetensors")
    with safe_open(twin_of(base) / "model.safetensors", framework="np") as twin:
        names = set(twin.keys())
        np.testing.assert_array_equal(twin.get_tensor("shared.weight"), twin.get_tensor("encoder.embed_tokens.weight"))
        assert twin.get_tensor("shared.weight").dtype == np.float16
    assert names == set(held) - {"decoder.final_layer_norm.weight"}


def test_it_is_made_once_and_again_when_it_was_damaged(checkpoint: Path, cache: Path) -> None:
    made = twin_of(checkpoint)
    assert [path.name for path in cache.iterdir()] == [made.name]
    assert made.name.startswith("untrained-tiny-")
    whole, before = digests(made), (made / "model.safetensors").stat().st_mtime_ns
    assert twin_of(checkpoint) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == before
    for name in ("model.safetensors", "config.json", "vocab.txt", "twin.json"):
        content = bytearray((made / name).read_bytes())
        content[len(content) // 2] ^= 1
        (made / name).write_bytes(content)
        assert digests(twin_of(checkpoint)) == whole, name
    (made / "vocab.txt").unlink()
    assert digests(twin_of(checkpoint)) == whole


def test_another_shape_is_another_twin_and_other_weights_are_not(tmp_path: Path, checkpoint: Path) -> None:
    again = write(tmp_path / "again" / "tiny", tensors(seed=7))
    deeper = write(tmp_path / "deeper" / "tiny", tensors(layers=2), num_hidden_layers=2)
    files = [open_checkpoint(f"untrained:{directory}").files for directory in (checkpoint, again, deeper)]
    weights = [of["model.safetensors"] for of in files]
    assert weights[0] != weights[2]
    first, second = (load_file(twin_of(directory) / "model.safetensors") for directory in (checkpoint, again))
    drawn = [name for name in first if "inv_freq" not in name]
    assert all(first[name].tobytes() == second[name].tobytes() for name in drawn)


def test_what_was_never_trained_is_its_own_twin(checkpoint: Path) -> None:
    built_in, made = untrained_checkpoint(), twin_of(checkpoint)
    assert twin_of("untrained-esm2-8m") == built_in
    assert twin_of(made) == made
    assert twin_of(f"untrained:{checkpoint}") == made


def test_the_model_that_ships_has_one_of_its_own_shape() -> None:
    small, twin = open_checkpoint("small"), open_checkpoint("untrained:small")
    assert twin.trained is False
    assert (twin.facts, twin.shape) == (small.facts, small.shape)
    assert twin.files != small.files


@pytest.mark.parametrize(
    ("model", "begins"),
    [
        ("untrained:small", "untrained-small-"),
        ("untrained:esm2_8m", "untrained-esm2_t6_8M_UR50D-"),
        ("untrained:/a/b/mine", "untrained-mine-"),
        ("untrained:untrained-esm2-8m", "untrained_esm2_8m-"),
    ],
)
def test_the_space_is_named_after_the_model(model: str, begins: str) -> None:
    recipe = embedding_config({"model": model})
    name = space_name(recipe, {"model.safetensors": "00"})
    assert name.replace("-", "_").startswith(begins.replace("-", "_"))
    assert name != space_name(
        embedding_config({"model": model.removeprefix("untrained:")}), {"model.safetensors": "11"}
    )


def test_mistakes_name_the_model_and_not_the_twin(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="names no model; put one behind it, as in untrained:esm2_650m"):
        embedding_config({"model": "untrained:"})
    with pytest.raises(CheckpointError, match="'esm2-8m-x' is neither a directory nor a hub id"):
        look_for_checkpoint("untrained:esm2-8m-x")
    with pytest.raises(CheckpointError, match="there is no directory /nowhere/at/all"):
        open_checkpoint("untrained:/nowhere/at/all")
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=rf"{checkpoint} has its weights as pickles only"):
        open_checkpoint(f"untrained:{checkpoint}")
    misfit = write(tmp_path / "misfit", tensors(layers=2))
    with pytest.raises(CheckpointError, match=rf"{misfit}: the weights are not those of its config.json: 2 layers"):
        open_checkpoint(f"untrained:{misfit}")


def test_a_full_disk_is_seen_before_anything_is_written(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from protea_ray.models import untrained_twin

    monkeypatch.setattr(untrained_twin.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 10})())
    with pytest.raises(CheckpointError, match=r"needs [0-9,]+ bytes at .*, where 10 are free.*PROTEA_RAY_CACHE"):
        twin_of(checkpoint)
    assert list(cache.iterdir()) == []
