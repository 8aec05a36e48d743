"""The replica of arXiv 2501.07747: its rows, its table, and all of its steps with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from jobs import replica as job
from jobs.program import run_program
from jobs.replica import ADAPTER, EXACT, LOCAL, Scale, replica, rows, training
from jobs.replica_table import BASELINE, COLUMNS, Outcome, replica_cells, write_outcome
from protea_ray.config.recipe import embedding_config, overlap_problems
from protea_ray.config.training import training_config
from protea_ray.errors import ConfigError, EncoderError
from protea_ray.sequences.synth import synthesise
from protea_ray.store.evaluations import EVALUATIONS
from protea_ray.store.location import open_location
from protea_ray.testing import random_checkpoint as checkpoints
from tests.evaluate.tables import made
from tests.query.worked import embed_here

CUT = (28, 60, None)  # residues, so that each group of lengths has proteins
LETTERS = dict.fromkeys(p.sequence[: CUT[n % 3]] for n, p in enumerate(synthesise(60, 5, None, 90)))
PROTEINS = {f"p{n}": letters for n, letters in enumerate(LETTERS)}
SPACES = {"S windows": "a-11111111", "L": "b-22222222", "Q": "c-33333333"}
GIVEN = {row: made.Given(space) for row, space in SPACES.items()}


def test_the_papers_scale_and_the_quarter_of_it() -> None:
    assert Scale.of(1022) == Scale(1022, 2046, 512)
    assert Scale.of(254) == Scale(254, 510, 128)


@pytest.mark.parametrize("trained", [254, 1022, 30])
def test_every_row_is_a_recipe_and_every_run_a_plan(trained: int) -> None:
    scale = Scale.of(trained)
    made_of = [embedding_config({"model": "m", **row.recipe}) for row in rows(scale)]
    assert len({config.model_dump_json() for config in made_of}) == len(made_of) - 1  # L and Q differ in the model
    assert not any(overlap_problems(config, trained) for config in made_of)
    plans = {name: training_config(training(scale, "m", name)) for name in (LOCAL, EXACT, ADAPTER)}
    assert {plan.crop for plan in plans.values()} == {scale.adapted}
    assert len({(plan.epochs, plan.step_tokens, plan.seed, plan.mask_rate) for plan in plans.values()}) == 1
    assert [plans[name].attention for name in plans] == [scale.local, "exact", scale.local]
    assert [plans[name].adapter for name in plans] == ["none", "none", "qlora"]
    assert plans[LOCAL].learning_rate == plans[EXACT].learning_rate == 5e-5


def results(**values: float):
    given: dict[made.Given, dict[str, float | None]] = {GIVEN[row]: {"fmax": value} for row, value in values.items()}
    counts = {"all": 100, "above_510": 40, "up_to_254": 25, "255_to_510": 35}
    return made.rows("go-mf", "multilabel", given, counts=counts)


def test_the_table_has_all_groups_and_paired_differences_to_windows() -> None:
    found = results(**{"S windows": 0.4, "L": 0.45, "Q": 0.38})

    cells = list(replica_cells(found, SPACES, "linear"))

    assert [cell.subset for cell in cells[::3]] == ["all", "up_to_254", "255_to_510", "above_510"]
    assert [cell.row for cell in cells[:3]] == list(SPACES)
    assert [cell.difference is None for cell in cells] == [True, False, False] * 4
    last = cells[-2]
    assert (last.row, last.subset, last.reached.count) == ("L", "above_510", 40)
    assert last.difference is not None
    assert last.difference.value == pytest.approx(0.05)
    drawn = last.reached.draws.mean(axis=0) - cells[-3].reached.draws.mean(axis=0)
    assert last.difference.interval == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-6)
    assert cells[4].cells()[:6] == ["go-mf", "fmax", "up to 254", "25", "L", cells[4].reached.with_spread()]
    assert len(cells[4].cells()) == len(COLUMNS)


def test_what_was_not_made_is_said_and_everything_is_data_too(tmp_path: Path) -> None:
    outcome = Outcome(
        {"trained": 254, "adapted": 510, "window": 128}, "m", {**dict.fromkeys(SPACES, "a way"), "S global": "another"},
        {BASELINE: SPACES[BASELINE], "L": SPACES["L"]}, {"S global": "attention: not for\n  this model"},
    )  # fmt: skip

    text = write_outcome(tmp_path, results(**{"S windows": 0.4, "L": 0.45}), outcome)

    assert text == (tmp_path / "replica.md").read_text()
    assert "S global was not made: attention: not for this model" in text
    assert "| go-mf | fmax | above 510 | 40 | L | 0.45" in text
    for part in ("0.549", "0.747", "0.783", "What it cannot tell"):
        assert part in text
    facts = json.loads((tmp_path / "replica.json").read_text())
    assert {value["row"] for value in facts["values"]} == {"S windows", "L"}
    assert facts["left_out"]["S global"].startswith("attention")


TINY = {"tokens": 600, "pack_tokens": 100, "step_tokens": 200, "validation_every": 2, "dtype": "float32",
        "warmup_steps": 1, "run.workers": 0}  # fmt: skip


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Of the job, with a model of 30 residues, a store of proteins and labels of the same ones."""
    torch.set_num_threads(1)
    standard = checkpoints.build("esm2", tmp_path / "standard", layers=2, hidden=32)
    config = json.loads((standard / "config.json").read_text())
    config["protea_ray"] = {"trained": True, "trained_residues": 30}
    (standard / "config.json").write_text(json.dumps(config))
    store = open_location(tmp_path / "store")
    embed_here(store, standard, PROTEINS, "train.fasta", window_overlap=5)
    fasta, labels = tmp_path / "task.fasta", tmp_path / "labels.csv"
    fasta.write_text("".join(f">{name}\n{letters}\n" for name, letters in PROTEINS.items()))
    labels.write_text("id,target\n" + "".join(f"p{n},{'ab'[n % 2]}\n" for n in range(len(PROTEINS))))
    set_fields = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    return [store.uri, "--standard", str(standard), "--out", str(tmp_path / "out"), "--tasks", str(labels), "--fasta",
            str(fasta), "--seeds", "1", "--device", "cpu", *set_fields]  # fmt: skip


def test_three_models_are_trained_and_nine_spaces_evaluated(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real runs and encoders in this process; the engine of embed and the probes are not what is tested."""
    vectors, asked = open_location(tmp_path / "out" / "vectors"), list[dict[str, Any]]()
    sources = (f"source{n}" for n in range(99))

    def embed(files: list[str], store: Path, *, model: str, run: dict[str, Any], **recipe: Any) -> Any:
        assert (files, store, run) == ([str(tmp_path / "task.fasta")], tmp_path / "out" / "vectors", {"device": "cpu"})
        space = embed_here(vectors, Path(model), PROTEINS, next(sources), **recipe)
        return SimpleNamespace(spaces=[SimpleNamespace(space=space)])

    def evaluate_spaces(store: Path, tasks: list[str], **options: Any) -> Any:
        asked.append(options)
        given = {made.Given(space): {"macro_f1": 0.5} for space in options["spaces"]}
        counts = {"all": 60, "above_62": 60}
        return SimpleNamespace(results=made.rows("labels", "classification", given, counts=counts))  # pyright: ignore

    monkeypatch.setattr(job, "embed", embed)
    monkeypatch.setattr(job, "evaluate_spaces", evaluate_spaces)

    run_program(replica, arguments)

    facts = json.loads((tmp_path / "out" / "replica.json").read_text())
    assert (facts["scale"], facts["left_out"]) == ({"trained": 30, "adapted": 62, "window": 16}, {})
    assert list(facts["spaces"]) == [row.name for row in rows(Scale.of(30))]
    assert len(set(facts["spaces"].values())) == 9
    assert (asked[0]["lengths"], asked[0]["spaces"]) == ((30, 62), list(facts["spaces"].values()))
    plans = {name: json.loads((tmp_path / "out" / name / "plan.json").read_text())["config"] for name in (LOCAL, EXACT)}
    assert [plans[name]["attention"] for name in plans] == ["local:16", "exact"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}
    monkeypatch.setattr(job, "train_model", lambda *_, **__: pytest.fail("a finished run was begun again"))
    run_program(replica, arguments)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")} == before


def test_a_row_that_cannot_be_made_says_why_and_the_job_ends_with_1(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(store: str, out: Path, **fields: Any) -> Any:
        if fields.get("adapter") == "qlora":
            raise EncoderError("4 bits need a library that is not here")
        (out / "model").mkdir(parents=True)
        return SimpleNamespace(stopped=None)

    def embed(files: list[str], store: Path, *, model: str, **recipe: Any) -> Any:
        if str(recipe["attention"]).startswith("global"):
            raise ConfigError("attention: not for this model", where="m")
        return SimpleNamespace(spaces=[SimpleNamespace(space=f"s{len(recipe)}{model[-5:]}{recipe['attention']}")])

    monkeypatch.setattr(job, "train_model", train)
    monkeypatch.setattr(job, "embed", embed)
    monkeypatch.setattr(job, "evaluate_spaces", lambda *_, **__: SimpleNamespace(results=EVALUATIONS.empty_table()))

    with pytest.raises(SystemExit) as left:
        run_program(replica, arguments)

    assert left.value.code == 1
    assert capsys.readouterr().out.startswith("adapted-qlora is left out: 4 bits need a library that is not here\n")
    facts = json.loads((tmp_path / "out" / "replica.json").read_text())
    assert facts["left_out"] == {
        "S global": "m: attention: not for this model", "Q": "4 bits need a library that is not here",
    }  # fmt: skip
    assert len(facts["spaces"]) == 7


def test_a_training_that_was_stopped_stops_the_job(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(
        job, "train_model", lambda store, out, **_: begun.append(out.name) or SimpleNamespace(stopped="SIGTERM")
    )
    monkeypatch.setattr(job, "embed", lambda *_, **__: pytest.fail("the next step was begun"))

    with pytest.raises(SystemExit) as left:
        run_program(replica, arguments)

    assert (left.value.code, begun) == (130, ["adapted-local"])


@pytest.mark.slow
def test_all_steps_by_the_engine_and_again(
    tmp_path: Path, arguments: list[str], cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run finds every cell."""
    run_program(replica, arguments)
    facts = json.loads((tmp_path / "out" / "replica.json").read_text())
    assert {value["subset"] for value in facts["values"]} == {"all", "up_to_30", "31_to_62", "above_62"}
    assert facts["left_out"] == {}
    capsys.readouterr()

    run_program(replica, arguments)

    assert json.loads((tmp_path / "out" / "replica.json").read_text()) == facts
    assert "cells are in the store" in capsys.readouterr().err
