"""What a run in one process leaves: metrics, baselines, the best checkpoint; and how it is stopped and refused."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from protea_ray.config.training import TrainingOptions
from protea_ray.errors import ConfigError
from protea_ray.train.__main__ import main
from protea_ray.train.metrics_file import read_metrics
from protea_ray.train.train_here import train_here
from tests.train.runs import STEP_TOKENS, module_arguments, newest, proteins, recipe, train


def of_kind(out: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_metrics(out) if line["kind"] == kind]


def test_metrics_have_every_step_once_with_what_the_recipe_says(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    done = train(recipe(tmp_path), tmp_path / "out", lambda event: seen.append(dict(event)))
    steps = of_kind(tmp_path / "out", "step")
    assert [line["step"] for line in steps] == list(range(1, 21))
    assert all(0.6 * STEP_TOKENS < b["tokens"] - a["tokens"] <= STEP_TOKENS for a, b in pairwise(steps))
    assert steps[-1]["tokens"] == done.tokens
    assert steps[2]["learning_rate"] == pytest.approx(1e-3)
    assert steps[-1]["learning_rate"] == pytest.approx(1e-3 / 17)
    validated = of_kind(tmp_path / "out", "validation")
    assert [line["step"] for line in validated] == [5, 10, 15, 20]
    assert len({(line["targets"], line["proteins"]) for line in validated}) == 1  # fixed proteins, fixed mask
    assert [event["step"] for event in seen if event["kind"] == "validation"] == [5, 10, 15, 20, 20]
    best = json.loads((tmp_path / "out" / "best.json").read_text())
    assert best["loss"] == min(line["loss"] for line in validated)
    (final,) = of_kind(tmp_path / "out", "final")
    assert final["loss"] == pytest.approx(best["loss"], abs=1e-6)  # all validation proteins are few enough to be quick
    assert done.validation is not None and done.validation.loss == final["loss"]


@pytest.mark.slow
def test_a_run_learns_what_there_is_to_learn(tmp_path: Path) -> None:
    """Every protein repeats a word of three letters: the loss falls far below that of the letters' frequencies."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACDEFGHIKL"), 3)) * 12 for _ in range(400)]
    data = proteins_of(texts)
    config = recipe(tmp_path, tokens=300 * STEP_TOKENS, learning_rate=5e-3, warmup_steps=20, validation_every=100)
    torch.set_num_threads(1)
    done = train_here(config, TrainingOptions(device="cpu"), data, tmp_path / "out")
    assert done.validation is not None
    assert done.validation.loss_20 < 1.5 < np.log(10)


def proteins_of(texts: list[str]) -> Any:
    from protea_ray.train.proteins import from_table

    n = len(texts)
    return from_table(pa.table({
        "id": [f"p{i}" for i in range(n)], "sequence": texts, "cluster": np.arange(n),
        "is_validation": np.arange(n) % 10 == 0,
    }))  # fmt: skip


def test_time_that_is_over_ends_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config = recipe(tmp_path)
    done = train_here(config, TrainingOptions(device="cpu"), proteins(), tmp_path / "out", stop_after=0)
    assert (done.step, done.stopped, done.validation) == (1, "0 seconds are over", None)
    assert newest(tmp_path / "out").name == "step-00000001" and not (tmp_path / "out" / "model").exists()


@pytest.mark.parametrize(("fields", "options", "words"), [
    ({}, {"device": "cuda"}, "torch sees no GPU here"),
    ({"step_tokens": 96 * 200, "tokens": 96 * 400}, {}, "lower step_tokens or pack_tokens"),
])  # fmt: skip
def test_what_cannot_work_is_refused(
    tmp_path: Path, fields: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match=words):
        train_here(recipe(tmp_path, **fields), TrainingOptions(**options), proteins(), tmp_path / "out")


def test_a_place_that_cannot_be_written_and_more_workers_than_packs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write to .*name another place"):
        train(recipe(tmp_path), tmp_path / "file" / "out")
    with pytest.raises(ConfigError, match=r"5 workers share 4 pack\(s\) a step"):
        train_here(recipe(tmp_path), TrainingOptions(device="cpu"), proteins(), tmp_path / "out", world=5)


def test_the_module_trains_on_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = module_arguments(recipe(tmp_path), tmp_path)
    assert main([*command, "--stop-after", "0"]) == 130
    assert main(command) == 0
    said = capsys.readouterr()
    assert f"model: {tmp_path / 'out' / 'model'}" in said.out
    assert "108 proteins to train on, 12 to validate" in said.err and "step 20 of 20" in said.err
    assert main([*command, "--set", "seed=5"]) == 2
    assert "seed: 0 there, 5 now" in capsys.readouterr().err
