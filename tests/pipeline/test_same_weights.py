"""A checkpoint is its weights: the same ones under another name are the same space, other ones are refused in time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.identity import space_name
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.resolution import resolve
from protea_ray.config.run import run_config
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import CheckpointError, ConfigError
from protea_ray.models.checkpoint import Checkpoint, open_checkpoint
from protea_ray.pipeline import embed as embedding
from protea_ray.pipeline.dry_run import dry_run
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.reembed import reembed
from protea_ray.pipeline.targets import make_targets, space_names
from protea_ray.pipeline.watch import watch
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.query.reader import open_store
from protea_ray.sequences.synth import write_fasta
from protea_ray.store.location import open_location
from protea_ray.store.rows import space_rows
from protea_ray.store.spaces import ensure_space, list_spaces, open_space
from protea_ray.train.adapter import add_adapters
from protea_ray.train.masked_model import MaskedModel
from tests import stores
from tests.store import build
from tests.toy import ToySpec


@pytest.fixture
def moved(esm2: Path, tmp_path: Path) -> Path:
    """The same checkpoint in a directory of another name."""
    return Path(shutil.copytree(esm2, tmp_path / "my_model"))


def recipe_of(model: Path, **fields: Any) -> EmbeddingConfig:
    return resolve(EmbeddingConfig(model=str(model), **fields), open_checkpoint(str(model)).facts, "cpu", None)


def targets(store: Path, model: Path, **fields: Any) -> list[str]:
    location, checkpoint = open_location(str(store)), open_checkpoint(str(model))
    return [t.space for t in make_targets(location, checkpoint, [recipe_of(model, **fields)], "run")]


# --- one space ------------------------------------------------------------------------------------------------------


def test_the_first_name_of_the_weights_stays(esm2: Path, moved: Path, tmp_path: Path) -> None:
    store = tmp_path / "s"
    (first,) = targets(store, esm2)
    assert first.startswith("esm2_small-")

    assert targets(store, moved) == [first]
    hub = replace(open_checkpoint(str(moved)), model="lab/tuned", revision="a" * 40)
    assert space_names(open_location(str(store)), hub, [recipe_of(moved)]) == [first]
    (other,) = targets(store, moved, pooling=["max"])
    assert other.startswith("my_model-")
    (moved / "config.json").write_text((moved / "config.json").read_text().replace("1e-05", "1e-06"))
    (changed,) = targets(store, moved)
    assert changed.startswith("my_model-")
    assert {s.name for s in list_spaces(open_location(str(store)))} == {first, other, changed}


def test_of_two_spaces_that_an_earlier_version_made_the_fuller_one(esm2: Path, moved: Path, tmp_path: Path) -> None:
    """A command that names one of the two directories goes on where it was, any other one takes the fuller space."""
    store, location = tmp_path / "s", open_location(str(tmp_path / "s"))
    (first,) = targets(store, esm2)
    info = open_space(location, first)
    files = open_checkpoint(str(esm2)).files
    again = replace(info, name=space_name(recipe_of(moved), files))
    (target,) = make_targets(location, open_checkpoint(str(esm2)), [recipe_of(esm2)], "run")
    ensure_space(location, again, target.schema)
    third = Path(shutil.copytree(esm2, tmp_path / "third"))

    assert targets(store, third) == [first]  # both are empty: the first by name
    rows = space_rows(
        target.schema, keys=[bytes(16)], unit="one", spans=[(0, 5)], n_residues=[5], n_residues_seen=[5],
        n_windows=[1], truncated=[False], vectors={"mean": np.ones((1, 32), np.float32)},
    )  # fmt: skip
    build.writer().append_table(location.table(again.name), rows)
    assert targets(store, third) == [again.name]
    assert (targets(store, esm2), targets(store, moved)) == ([first], [again.name])


@pytest.mark.usefixtures("cluster")
def test_a_moved_checkpoint_costs_nothing(esm2: Path, moved: Path, tmp_path: Path, capsys: Any) -> None:
    fasta, store = tmp_path / "p.fasta", tmp_path / "s"
    write_fasta(fasta, 12, seed=8)
    inputs = [str(fasta)]
    first = embed(inputs, str(store), run_config({"model": str(esm2)}), LineReporter(), ToySpec).spaces[0]
    asked = run_config({"model": str(moved)})

    plan = dry_run(inputs, str(store), asked, LineReporter(), ToySpec)
    second = embed(inputs, str(store), asked, LineReporter(), ToySpec)
    again = reembed(str(store), {"model": str(moved)}, LineReporter(), make_spec=ToySpec)

    assert (plan.spaces[0].space, plan.spaces[0].proteins, plan.seconds) == (first.space, 0, 0.0)
    assert (second.spaces[0].space, second.spaces[0].stored, second.residues) == (first.space, 0, 0)
    assert second.spaces[0].already_present == first.stored > 0
    assert f"{moved} has the weights and the recipe of {first.space}" in capsys.readouterr().err
    assert (again.before, again.after, again.moved) == (first.space, first.space, False)
    look = watch(str(store), str(moved), {}, LineReporter(), interval=0.1, rounds=3, make_spec=ToySpec)
    assert list(look) == []
    assert [space.name for space in open_store(store).status().spaces] == [first.space]
    assert len(stores.vectors(store)) == first.stored


# --- refused in time ------------------------------------------------------------------------------------------------


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused must be refused before Ray is asked for anything."""

    def started(*_: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(embedding, "connect", started)


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("command", [embed, dry_run])
def test_every_misfit_of_recipe_and_checkpoint_is_told_before_ray_starts(
    command: Callable[..., Any], esm2: Path, tmp_path: Path
) -> None:
    fasta = tmp_path / "p.fasta"
    write_fasta(fasta, 3, seed=1)
    shared = {"model": str(esm2), "window_overlap": 1022, "dtype": "float16", "run": {"device": "cpu"}}
    config = run_config({**shared, "recipes": [{"layers": [4]}, {"layers": [4, 7]}]})

    with pytest.raises(ConfigError) as caught:
        command([str(fasta)], str(tmp_path / "s"), config, LineReporter())

    told = " | ".join(caught.value.problems)
    for words in ("4 is deeper", "7 is deeper", "window_overlap 1022", "float16 is 4 times slower"):
        assert words in told
    assert not (tmp_path / "s").exists()


@pytest.mark.usefixtures("no_ray")
def test_what_only_the_device_decides_waits_for_it(esm2: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "p.fasta"
    write_fasta(fasta, 3, seed=1)
    config = run_config({"model": str(esm2), "dtype": "float16"})
    with pytest.raises(AssertionError, match="Ray was started"):
        embed([str(fasta)], str(tmp_path / "s"), config, LineReporter())


def test_a_worker_elsewhere_compares_its_weights_with_the_drivers(esm2: Path, moved: Path) -> None:
    """Its own disk may hold another checkpoint under the same path."""
    opened = open_checkpoint(str(moved))
    there = EncoderSpec(
        model=str(moved), revision=None, directory=Path("/not/here"), host="the driver's", files=opened.files,
        family="esm2", device="cpu", token_budget=None,
    )  # fmt: skip
    assert there._local_checkpoint() == (moved, None)
    weights = moved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match="not those that were recorded"):
        there.load([recipe_of(esm2)])


def test_a_worker_elsewhere_finds_the_adapter_and_its_base(esm2: Path, tmp_path: Path) -> None:
    opened = kept_adapter(tmp_path / "kept", esm2)
    assert opened.adapter is not None
    there = EncoderSpec(
        model=opened.model, revision=None, directory=Path("/not/here"), host="the driver's", files=opened.files,
        family="esm2", device="cpu", token_budget=None, adapter=replace(opened.adapter, directory=Path("/not/here")),
    )  # fmt: skip
    assert there._local_checkpoint() == (esm2, opened.adapter)
    weights = opened.adapter.weights
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: recorded"):
        there.load([recipe_of(esm2)])


@pytest.mark.usefixtures("cluster")
def test_an_adapter_is_embedded_over_its_base(esm2: Path, tmp_path: Path) -> None:
    opened = kept_adapter(tmp_path / "kept", esm2)
    fasta, store = tmp_path / "p.fasta", tmp_path / "s"
    write_fasta(fasta, 1, seed=1)
    config = run_config({"model": opened.model, "run": {"actors": 1}})
    embed([str(fasta)], str(store), config, LineReporter())

    (space,) = list_spaces(open_location(str(store)))
    assert space.checkpoint["files"] == opened.files
    name, letters = fasta.read_text().split(maxsplit=1)[0][1:], "".join(fasta.read_text().splitlines()[1:])
    stored = np.array(open_store(store).get([name])["mean"].to_pylist()[0])
    for checkpoint, is_it in ((opened, True), (open_checkpoint(str(esm2)), False)):
        (result,) = encoder_here(checkpoint, config.recipes[0], "cpu").embed([letters])
        assert isinstance(result, Embedded)
        assert bool(np.abs(result.pooled["mean"][0] - stored).max() < 1e-3) == is_it


def kept_adapter(place: Path, base: Path) -> Checkpoint:
    """An update of every query matrix of `base`, in the directory that training writes."""
    model = MaskedModel.load(base, device="cpu", dtype="float32")
    updates = add_adapters(model, open_checkpoint(str(base)), rank=2, targets=("query",))
    with torch.no_grad():
        for update in updates.layers.values():
            update.lora_B.fill_(0.5)
    return open_checkpoint(str(updates.write(place, updates.tensors(), {})))
