"""Feature maps learn from exact attention, layer by layer; what a run leaves embeds, resumes, and is trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.training import TrainingConfig, training_config
from protea_ray.encoder.collect import Embedded
from protea_ray.encoder.in_memory import encoder_here
from protea_ray.errors import ConfigError
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.testing.random_checkpoint import build
from protea_ray.train.__main__ import main
from protea_ray.train.card import command_line
from protea_ray.train.distil import learning_maps
from protea_ray.train.forecast import operations_of
from protea_ray.train.masked_model import MaskedModel
from protea_ray.train.metrics_file import read_metrics
from protea_ray.train.model_files import FEATURE_MAPS
from protea_ray.train.prediction import shape_of
from protea_ray.train.results import write_results
from protea_ray.train.run_start import RunStart
from protea_ray.train.trainee import Trainee
from protea_ray.train.training_set import training_set
from tests.train import runs
from tests.train.runs import module_arguments, newest, recipe, train, weights
from tests.train.test_adapter_run import KilledError


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return build("esm2", tmp_path_factory.mktemp("base") / "esm2", layers=2, hidden=32)


def distilling(place: Path, base: Path, **more: Any) -> TrainingConfig:
    return recipe(place, shape=None, model=str(base), feature_maps="hedgehog", learning_rate=0.02, **more)


@pytest.fixture(scope="module")
def learned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The place of a finished run that learned maps."""
    place = tmp_path_factory.mktemp("learned")
    train(distilling(place, base), place / "out")
    return place / "out"


def vector(directory: Path, attention: str) -> Tensor:
    found = open_checkpoint(str(directory))
    fields = {"model": str(directory), "attention": attention, "store_dtype": "float32", "normalize": False}
    (result,) = encoder_here(found, EmbeddingConfig.model_validate(fields), "cpu").embed(["MKTAYIAKQRNNPLV"])
    assert isinstance(result, Embedded)
    return torch.from_numpy(result.pooled["mean"][0])


def maps_of(directory: Path) -> dict[str, Tensor]:
    return load_file(directory / FEATURE_MAPS)


@pytest.mark.parametrize("family", ["esm2", "esmc"])
def test_loss_and_gradient_are_those_of_outputs_written_out(family: str, tmp_path: Path) -> None:
    """Against n x n weights of both kinds for each protein and layer, with autograd through all of it."""
    model = build(family, tmp_path / family, layers=2)
    config = recipe(tmp_path, shape=None, model=str(model))
    data = training_set(runs.proteins(), model, config)
    step = next(data.plan.steps(0, 0))
    masked = MaskedModel.load(model, device="cpu", dtype="float32").eval()
    distillation = learning_maps(masked, model)
    with torch.no_grad():
        for matrix in (matrix for maps in distillation.maps for matrix in maps.parameters()):
            matrix += 0.3 * torch.randn(matrix.shape, generator=torch.Generator().manual_seed(1))
    inputs = masked.to_device(data.pack(step, 0))
    loss = distillation(**inputs)
    loss.backward()

    seen: list[tuple[Any, ...]] = []
    with distillation.comparing(inputs["rows"]):
        stack = masked.family.stack(masked.body).layers
        for layer in stack:
            module = layer.get_submodule(str(masked.family.attention_part))
            module.compare = lambda *given: seen.append(given)
        with torch.no_grad():
            masked.states(inputs["ids"], inputs["positions"], inputs["cu_seqlens"], inputs["rows"])
    wanted = torch.zeros(())
    for module, q, k, v, _, scale in seen:
        for a, b in pairwise(inputs["rows"].tolist()):
            x, y, z = (part[0, :, a:b] for part in (q, k, v))
            exact = (scale * x @ y.mT).softmax(-1) @ z
            unscaled = x * (scale * x.shape[-1] ** 0.5)
            sides = [side @ w for side, w in ((unscaled, module.feature_maps.query), (y, module.feature_maps.key))]
            one, two = (torch.cat([side.softmax(-1), (-side).softmax(-1)], -1) for side in sides)
            between = one @ two.mT
            linear = between / between.sum(-1, keepdim=True) @ z
            wanted = wanted + (linear - exact).square().mean((0, 2)).sum() / len(seen)
    parameters = [matrix for maps in distillation.maps for matrix in maps.parameters()]
    slopes = torch.autograd.grad(wanted, parameters)
    assert len(seen) == 2 and (loss - wanted).detach().abs() < 1e-5 * wanted.detach()
    for matrix, slope in zip(parameters, slopes, strict=True):
        assert matrix.grad is not None and (matrix.grad - slope).abs().max() < 1e-5 * float(slope.abs().max())
    assert all(value.grad is None for name, value in masked.named_parameters() if "feature_maps" not in name)


def test_twenty_steps_bring_the_outputs_nearer_and_touch_no_weight(base: Path, learned: Path) -> None:
    lines = list(read_metrics(learned))
    steps = [line["loss"] for line in lines if line["kind"] == "step"]
    validated = [line for line in lines if line["kind"] == "validation"]
    assert sum(steps[-5:]) < 0.8 * sum(steps[:5])
    assert validated[-1]["mse"] < 0.9 * validated[0]["mse"]
    assert all(line["loss_exact"] == validated[0]["loss_exact"] for line in validated)
    for line in validated:
        assert len(line["mse_by_layer"]) == 2 and abs(sum(line["mse_by_layer"]) / 2 - line["mse"]) < 1e-12
    model = learned / "model"
    own, started = weights(model), weights(base)
    assert all(torch.equal(value, started[name]) for name, value in own.items())
    assert torch.equal(vector(model, "exact"), vector(base, "exact"))
    assert (vector(model, "hedgehog") - vector(base, "exact")).abs().max() > 1e-3
    assert len(maps_of(model)) == 4


def test_the_first_maps_are_identities(base: Path, tmp_path: Path) -> None:
    config = distilling(tmp_path, base)
    start = RunStart(base, None, 0, None)  # type: ignore[arg-type]
    made = Trainee.load(config, start, None, device=torch.device("cpu"), compiled=False).tensors()
    first = [value for name, value in made.items() if ".feature_maps." in name]
    assert len(first) == 4 and all(torch.equal(value, torch.eye(8).repeat(4, 1, 1)) for value in first)


def test_its_files_say_what_it_is(base: Path, learned: Path) -> None:
    marker = json.loads((learned / "model" / "config.json").read_text())["protea_ray"]
    assert marker["attention"] == marker["feature_maps"] == "hedgehog" and marker["trained"]
    assert marker["parent"]["files"] == open_checkpoint(str(base)).files
    found = open_checkpoint(str(learned / "model"))
    assert found.facts.has_feature_maps and found.facts.trained_length == 1022  # its weights saw no longer stretch


def test_a_killed_run_goes_on_to_the_same_bits(base: Path, learned: Path, tmp_path: Path) -> None:
    def kill(event: Mapping[str, Any]) -> None:
        if event["kind"] == "validation" and event["step"] >= 10:
            raise KilledError

    config = distilling(tmp_path, base)
    with pytest.raises(KilledError):
        train(config, tmp_path / "out", kill)
    assert newest(tmp_path / "out").name < "step-00000020"
    train(config, tmp_path / "out")
    one, other = (maps_of(newest(out)) for out in (learned, tmp_path / "out"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_saved_attends_as_the_run_did(base: Path, learned: Path, tmp_path: Path) -> None:
    """The masked loss that the run gave its best checkpoint is that of the directory, opened as any model."""
    config = distilling(tmp_path, base)
    again = MaskedModel.load(learned / "model", device="cpu", dtype="float32", attention="hedgehog").eval()
    data = training_set(runs.proteins(), base, config)
    total, count = 0.0, 0
    for pack in data.validation_packs(data.validation_rows()):
        with torch.no_grad():
            total, count = total + float(again(**again.to_device(pack))), count + len(pack.targets)
    final = [line for line in read_metrics(learned) if line["kind"] == "final"][-1]
    assert abs(total / count - final["loss"]) < 1e-5


def test_lora_goes_on_under_the_learned_maps(learned: Path, tmp_path: Path) -> None:
    targets = ("query", "key", "value", "output")
    fields = {"shape": None, "model": str(learned / "model"), "adapter": "lora", "attention": "hedgehog"}
    config = recipe(tmp_path, **fields, lora_rank=4, lora_targets=targets, learning_rate=0.02)
    train(config, tmp_path / "out")
    merged = tmp_path / "out" / "model"
    assert open_checkpoint(str(merged)).adapter is None
    marker = json.loads((merged / "config.json").read_text())["protea_ray"]
    assert marker["attention"] == marker["feature_maps"] == "hedgehog"
    one, other = maps_of(learned / "model"), maps_of(merged)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    best = tmp_path / "out" / json.loads((tmp_path / "out" / "best.json").read_text())["directory"]
    kept = vector(best, "hedgehog")
    assert (kept - vector(merged, "hedgehog")).abs().max() < 1e-5
    assert (kept - vector(learned / "model", "hedgehog")).abs().max() > 1e-3


def test_all_weights_learn_with_their_maps_and_lose_them_under_exact_attention(learned: Path, tmp_path: Path) -> None:
    fields = {"shape": None, "model": str(learned / "model"), "tokens": 3 * runs.STEP_TOKENS}
    train(recipe(tmp_path / "a", **fields, attention="hedgehog", validation_every=3), tmp_path / "a" / "out")
    train(recipe(tmp_path / "b", **fields, attention="exact", validation_every=3), tmp_path / "b" / "out")
    before, after = maps_of(learned / "model"), maps_of(tmp_path / "a" / "out" / "model")
    assert before.keys() == after.keys() and all(not torch.equal(before[name], after[name]) for name in before)
    assert not (tmp_path / "b" / "out" / "model" / FEATURE_MAPS).exists()


def test_mistakes_are_told_together_before_a_plan_is_written(base: Path, tmp_path: Path) -> None:
    wrong = {"attention": "local:8", "adapter": "lora", "dropout": 0.1, "optimiser": "muon"}
    with pytest.raises(ConfigError) as caught:
        distilling(tmp_path, base, **wrong)
    assert len(caught.value.problems) == 3
    for words in ("not from local:8", "are two runs", "dropout, optimiser muon would change nothing"):
        assert words in str(caught.value)
    with pytest.raises(ConfigError, match="needs a model"):
        training_config({"shape": "small", "feature_maps": "hedgehog"})
    with pytest.raises(ConfigError, match="attention hedgehog needs a model"):
        training_config({"shape": "small", "attention": "hedgehog"})
    for config, words in (
        (
            distilling(tmp_path, base, crop=1023, pack_tokens=1025, step_tokens=1025),
            "crop 1023 is longer than the 1022",
        ),
        (recipe(tmp_path, shape=None, model=str(base), attention="hedgehog"), "has none: learn them first"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(config, tmp_path / "out")
    with pytest.raises(ConfigError, match="compile on"):
        train(distilling(tmp_path, base), tmp_path / "out", compile="on")
    assert not (tmp_path / "out").exists()


def test_a_plan_without_maps_is_what_it_always_was(tmp_path: Path) -> None:
    train(recipe(tmp_path, tokens=runs.STEP_TOKENS, validation_every=1), tmp_path / "out")
    assert "feature_maps" not in json.loads((tmp_path / "out" / "plan.json").read_text())["config"]


def test_the_preset_is_that_of_the_paper_and_what_is_given_wins() -> None:
    config = training_config({"model": "m", "feature_maps": "hedgehog"})
    assert (config.attention, config.learning_rate, config.weight_decay) == ("exact", 0.01, 0.0)
    assert (config.tokens, config.epochs, config.crop) == (8_000_000, None, 1_022)
    given = training_config({"model": "m", "feature_maps": "hedgehog", "epochs": 1, "learning_rate": 0.1})
    assert (given.tokens, given.epochs, given.learning_rate) == (None, 1.0, 0.1)


def test_the_card_and_the_command_say_what_was_learned(base: Path, learned: Path) -> None:
    command = command_line("s", "o", training_config({"model": "m", "feature_maps": "hedgehog"}))
    assert command == "protea-ray train s o --model m --feature-maps hedgehog"
    write_results(learned, command, None)
    text = (learned / "model" / "README.md").read_text()
    assert "unchanged, and feature maps of linear attention" in text and "attends exactly: it does not know" in text
    assert "| exact attention | " in text and "| layer | mean squared error | relative error |" in text


def test_the_forecast_counts_one_pass(base: Path, tmp_path: Path) -> None:
    learns, trains = distilling(tmp_path, base), recipe(tmp_path, shape=None, model=str(base))
    tokens = torch.full((10,), 40).numpy()
    ratio = operations_of(trains, shape_of(trains), tokens) / operations_of(learns, shape_of(learns), tokens)
    assert 3.0 < ratio < 4.0  # forward and backward, and the head


def test_the_module_learns_maps_of_a_table(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = distilling(tmp_path, base, tokens=2 * runs.STEP_TOKENS, validation_every=1)
    assert main(module_arguments(config, tmp_path)) == 0
    said = capsys.readouterr()
    assert said.out == f"model: {tmp_path / 'out' / 'model'}\n" and "exact attention" in said.err
    assert (tmp_path / "out" / "model" / FEATURE_MAPS).is_file()
