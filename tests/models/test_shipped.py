"""The model that ships: found by its name, read where it lies, exact in float32, and never replaced by another one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from protea_ray.config.identity import space_name
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.resolution import resolve
from protea_ray.encoder.in_memory import embed_dataset
from protea_ray.errors import CheckpointError
from protea_ray.models import shipped
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.models.untrained import MODEL_NAME, untrained_checkpoint
from protea_ray.testing.random_checkpoint import build
from tests.models.conftest import refused
from tools.ship import MOST_BYTES, ship

ROOT = Path(__file__).resolve().parents[2]
PROTEINS = ["MKTAYIAKQRQISFVKSHFSRQ", "GIVEQCCTSICSLYQLENYCN"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training run leaves behind: a model with float32 weights, its card and its plan."""
    out = tmp_path_factory.mktemp("trained")
    build("esm2", out / "model", layers=3, hidden=64, heads=4, seed=5)
    config = json.loads((out / "model" / "config.json").read_text())
    marked = config | {"protea_ray": {"trained": True, "trained_residues": 510}}
    (out / "model" / "config.json").write_text(json.dumps(marked))
    (out / "README.md").write_text("# card\n")
    (out / "plan.json").write_text("{}\n")
    return out


@pytest.fixture
def packaged(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the package data: random weights, read in place of those that ship."""
    target = tmp_path / "site-packages" / "small"
    ship(trained, target)
    monkeypatch.setattr(shipped, "_packaged", lambda: target)
    return target


def test_the_files_that_ship() -> None:
    """The default, whole, float16, marked as trained, and small enough to be in a repository."""
    opened = open_checkpoint(None)
    assert (opened.model, opened.trained, opened.facts.family) == ("small", True, "esm2")
    assert opened.facts.has_lm_head
    weights = opened.path / "model.safetensors"
    assert weights.stat().st_size <= MOST_BYTES + 100_000  # the header
    assert {weight.dtype for weight in load_file(weights).values()} == {np.dtype("float16")}
    config = json.loads((opened.path / "config.json").read_text())
    assert config["protea_ray"]["trained"] is True
    assert (opened.path / "vocab.txt").read_text().split() == (untrained_checkpoint() / "vocab.txt").read_text().split()
    assert (opened.path / "README.md").is_file()
    json.loads((opened.path / "plan.json").read_text())


def test_it_is_opened_by_its_name_as_any_checkpoint(packaged: Path) -> None:
    opened, by_path = open_checkpoint("small"), open_checkpoint(str(packaged))
    assert (opened.model, opened.path, opened.trained) == ("small", packaged, True)
    assert (opened.facts, opened.files) == (by_path.facts, by_path.files)
    assert opened.facts.has_lm_head
    names = set()
    for checkpoint in (opened, by_path):
        recipe = resolve(EmbeddingConfig(model=checkpoint.model), checkpoint.facts, "cpu", None)
        names.add(space_name(recipe, checkpoint.files))
    assert len(names) == 1
    assert names.pop().startswith("small-")


def test_float16_files_give_the_vectors_of_the_same_numbers_in_float32(packaged: Path, tmp_path: Path) -> None:
    """Every number of the file is one of float32, so that not one bit of a vector may differ."""
    torch.set_num_threads(1)
    wide = shutil.copytree(packaged, tmp_path / "wide")
    halves = load_file(packaged / "model.safetensors")
    assert {weight.dtype for weight in halves.values()} == {np.dtype("float16")}
    save_file({n: w.astype(np.float32) for n, w in halves.items()}, wide / "model.safetensors", {"format": "pt"})
    ours, theirs = (embed_dataset(PROTEINS, model=name, full_embeddings=True) for name in ("small", str(wide)))
    for protein in PROTEINS:
        assert ours[protein].dtype == np.float32
        np.testing.assert_array_equal(ours[protein], theirs[protein])


def test_shipping_rounds_weights_and_changes_little(trained: Path, packaged: Path) -> None:
    before, after = (embed_dataset(PROTEINS, model=str(path)) for path in (trained / "model", packaged))
    for protein in PROTEINS:
        assert not np.array_equal(before[protein], after[protein])
        assert np.linalg.norm(before[protein] - after[protein]) < 2e-3 * np.linalg.norm(before[protein])


def test_nothing_is_written_beside_it(packaged: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in packaged.iterdir()}
    packaged.chmod(0o555)
    try:
        embed_dataset(PROTEINS, model="small")
    finally:
        packaged.chmod(0o755)
    assert {path.name: path.stat().st_mtime_ns for path in packaged.iterdir()} == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt", "tokenizer_config.json"])
def test_a_file_that_is_not_installed_is_named_and_no_other_model_steps_in(packaged: Path, name: str) -> None:
    (packaged / name).unlink()
    refused("small", "not whole in this installation", f"holds no {name}", "--model", MODEL_NAME)


def test_a_checkpoint_of_that_name_in_the_working_directory_is_not_guessed_at(
    packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()  # a store, for example
    assert open_checkpoint("small").path == packaged
    shutil.copytree(packaged, tmp_path / "small", dirs_exist_ok=True)
    refused("small", "./small")
    assert open_checkpoint("./small").path == tmp_path / "small"


@pytest.mark.parametrize("name", shipped.BUILT_IN)
def test_a_built_in_model_has_no_revision(packaged: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="Drop the revision"):
        open_checkpoint(name, "0123456789abcdef0123456789abcdef01234567")


def test_what_must_not_ship(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = load_file(trained / "model" / "model.safetensors")
    name = next(name for name in weights if "word_embeddings" in name)
    ill = tmp_path / "ill"
    for value in (7e4, np.nan):
        shutil.copytree(trained, ill, dirs_exist_ok=True)
        save_file(weights | {name: np.full_like(weights[name], value)}, ill / "model" / "model.safetensors")
        with pytest.raises(ValueError, match=f"{name} reaches .*float16"):
            ship(ill, tmp_path / "out")
    (ill / "model" / "config.json").write_text(json.dumps({"protea_ray": {"trained": False}}))
    with pytest.raises(ValueError, match="never trained"):
        ship(ill, tmp_path / "out")
    monkeypatch.setattr("tools.ship.MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 1,000 ship"):
        ship(trained, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_shape_that_ships_fits(tmp_path: Path) -> None:
    """6 layers of 320 with the head over letters: 7.5 million parameters."""
    build("esm2", tmp_path / "model", layers=6, hidden=320, heads=5)
    (tmp_path / "README.md").write_text("")
    (tmp_path / "plan.json").write_text("{}")
    done = ship(tmp_path, tmp_path / "small")
    assert 14_000_000 < done["bytes"] < MOST_BYTES
    assert (tmp_path / "small" / "model.safetensors").stat().st_size < 16 * 1000 * 1000
    assert done["largest_error"] < 2**-11
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "small").iterdir())


@pytest.mark.slow
def test_a_wheel_holds_it(packaged: Path, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77", reason="the build's own requirement is not installed")
    source = tmp_path / "source"
    shutil.copytree(ROOT / "protea_ray", source / "protea_ray", ignore=shutil.ignore_patterns("__pycache__", "small"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(packaged, source / "protea_ray" / "models" / "small")
    build_wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "."]
    subprocess.run([*build_wheel, "-w", str(tmp_path)], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {n.removeprefix("protea_ray/models/small/") for n in zipfile.ZipFile(wheel).namelist() if "/small/" in n}
    assert held == {path.name for path in packaged.iterdir()}
    assert held == {"config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors", "README.md", "plan.json"}
