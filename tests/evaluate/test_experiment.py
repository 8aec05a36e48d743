"""The parts of an experiment one by one: features, losses and their scales, labels that do not fit, and the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate import probes
from protea_ray.evaluate.experiment import evaluate, join_labels, make_task, write_labels
from protea_ray.evaluate.probes import ProbePlan, Probes, Share, fit_probes, loss_of, predict, scales_of
from protea_ray.evaluate.report import UNTRAINED, print_report, write_report
from protea_ray.evaluate.tasks import Task
from protea_ray.query.random_vectors import UntrainedSpaceWarning
from protea_ray.query.reader import Store
from tests.query.training import helpers

PROTEINS = 60

for module in ("sklearn", "scipy", "matplotlib"):
    pytest.importorskip(module, reason="the extras `train` and `report` are not installed")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return helpers.make(tmp_path_factory.mktemp("experiment"), PROTEINS, per_unit=20)


def task_of(kind: str, targets: list[Any], names: tuple[str, ...]) -> Task:
    split = ["test" if n % 3 == 0 else "train" for n in range(PROTEINS)]
    return Task("of the test", kind, [f"P{n:05d}" for n in range(PROTEINS)], targets, split, names)


def plan_of(task: Task, store: Store, folder: Path, **fields: Any) -> ProbePlan:
    table = write_labels(task, folder / "labels.parquet")
    outputs = max(1, len(task.names))
    plan = ProbePlan(store.uri, store.pin().to_json(), str(table), "mean", task.kind, outputs, 2, 8, 1e-2, 0.0, 4, 0)
    return replace(plan, **fields)


def test_losses_by_hand() -> None:
    scores = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    classes = -(np.log(np.e / (1 + np.e)) + np.log(1 / (1 + np.e**2))) / 2
    assert float(loss_of("classification", scores, torch.tensor([1, 1]))) == pytest.approx(classes, abs=1e-6)
    sigmoid = 1 / (1 + np.exp(-scores.numpy()))
    terms = -np.log(np.stack([1 - sigmoid[:, 0], sigmoid[:, 1]])).mean()
    truth = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert float(loss_of("multilabel", scores, truth)) == pytest.approx(terms, abs=1e-6)
    assert float(loss_of("regression", scores[:, :1], torch.tensor([1.0, 4.0]))) == pytest.approx((1 + 4) / 2)


def test_features_are_scaled_by_all_ranks_and_a_constant_one_stays() -> None:
    """Two ranks with other batches; mean and deviation are those of numpy over everything."""
    draw = np.random.default_rng(0)
    values = draw.normal(5, 3, (10, 4)).astype(np.float32)
    values[:, 2] = 7
    letters = ["".join(draw.choice(list("ACDE"), 9)) for _ in values]
    plan = ProbePlan("", {}, "", "mean", "regression", 1, 1, 1, 0.1, 0.0, 1, 0)

    def batches(rows: range) -> Any:
        return [{"mean": torch.from_numpy(values[[i]]), "sequence": [letters[i]]} for i in rows]

    moments: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    scales_of(batches(range(4, 10)), plan, lambda own: moments[1].append(own) or own)
    both = iter(moments[1])
    scales = scales_of(batches(range(4)), plan, lambda own: own + next(both))
    mean, std = scales["embedding"]
    assert np.allclose(mean, values.mean(0), atol=1e-5)
    assert np.allclose(std, [*values.std(0)[:2], 1, values.std(0)[3]], atol=1e-5)
    shares = probes.composition(letters)
    assert np.allclose(scales["composition"][0], shares.mean(0), atol=1e-6)
    assert scales["composition"][1][10] == 1  # no protein has this letter


def test_each_input_has_a_linear_and_a_nonlinear_probe_on_its_scaled_features() -> None:
    torch.manual_seed(0)
    scales = {
        "embedding": (torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0])),
        "other": (torch.zeros(3), torch.ones(3)),
    }
    made = Probes(scales, 5, 7).eval()
    inputs = {"embedding": torch.randn(6, 2), "other": torch.randn(6, 3)}
    found = made(inputs)
    assert {name: tuple(scores.shape) for name, scores in found.items()} == dict.fromkeys(
        ["embedding linear", "embedding mlp", "other linear", "other mlp"], (6, 5)
    )
    linear: Any = made.heads["embedding linear"]
    expected = ((inputs["embedding"] - scales["embedding"][0]) / scales["embedding"][1]) @ linear.weight.T + linear.bias
    assert torch.allclose(found["embedding linear"], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_only_the_first_rank_predicts_and_it_predicts_every_test_protein(
    kind: str, store: Store, tmp_path: Path
) -> None:
    targets = {
        "classification": ["ab"[n % 2] for n in range(PROTEINS)],
        "multilabel": [("a", "b")[: n % 3] for n in range(PROTEINS)],
        "regression": [n / 10 for n in range(PROTEINS)],
    }[kind]
    task = task_of(kind, targets, () if kind == "regression" else ("a", "b"))
    plan = plan_of(task, store, tmp_path)
    reports: list[dict[str, float]] = []
    encoded = torch.from_numpy(task.encoded())
    found = fit_probes(plan, encoded, Share(0, 2, 40), lambda model: model, reports.append)
    assert found is not None
    assert sorted(found["rows"].tolist()) == list(range(0, PROTEINS, 3))
    assert len(found["losses"]) == 2
    assert reports == [{"epochs": 2, **found["losses"][-1]}]
    scores = found["scores"]["embedding linear"]
    assert scores.shape == (20, plan.outputs)
    if kind == "classification":
        assert np.allclose(scores.sum(1), 1, atol=1e-5)
    if kind == "multilabel":
        assert ((scores > 0) & (scores < 1)).all()
    assert fit_probes(plan, encoded, Share(1, 2, 40), lambda model: model, reports.append) is None
    assert len(reports) == 2


def test_the_loss_of_an_epoch_is_the_mean_of_its_batches(store: Store, tmp_path: Path) -> None:
    """A model that cannot change: the loss is that of the training proteins in full batches."""
    task = task_of("regression", [float(n % 5) for n in range(PROTEINS)], ())
    plan = plan_of(task, store, tmp_path, batch_size=10)
    data = probes.data_of(plan, store, "train", 0, 1, 10)
    assert len(data) == 4
    made = Probes(scales_of(data, plan, lambda own: own), 1, 4)
    optimiser = torch.optim.SGD(made.parameters(), lr=0.0)
    targets = torch.from_numpy(task.encoded())
    losses = probes._train_epoch(made, optimiser, data, plan, targets)
    rows, scores = predict(made, data, plan)
    expected = np.mean((scores["embedding linear"][:, 0] - task.encoded()[rows]) ** 2)
    assert losses["embedding linear"] == pytest.approx(expected, rel=1e-4)


def test_labels_that_leave_one_side_empty_are_refused(store: Store, tmp_path: Path) -> None:
    task = task_of("regression", [0.0] * PROTEINS, ())
    strange = replace(
        task, ids=[id if side == "train" else f"no-{id}" for id, side in zip(task.ids, task.split, strict=True)]
    )
    table = write_labels(strange, tmp_path / "labels.parquet")
    with pytest.raises(InputError, match=r"20 unknown.*'test': 0.*embed the proteins of both sides"):
        join_labels(strange, store, store.pin(), "mean", table)


def test_a_task_that_does_not_exist_is_named(store: Store, tmp_path: Path) -> None:
    for name, kind in (("genes", "regression"), ("table", "ranking")):
        with pytest.raises(ConfigError, match="localization, go-mf, go-cc or table; a table needs --kind"):
            make_task(name, tmp_path / "t.csv", kind, store)
    (tmp_path / "t.csv").write_text("id,target,split\nP00001,1,train\nP00002,2,test\n")
    assert make_task("table", tmp_path / "t.csv", "regression", store).targets == [1.0, 2.0]


def test_figures_come_with_and_without_the_relatives_of_training_proteins(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("regression", [float(n) for n in range(PROTEINS)], ())
    plan = plan_of(task, store, tmp_path)
    related = np.zeros(PROTEINS, bool)
    related[[0, 3, 6]] = True
    monkeypatch.setattr("protea_ray.evaluate.experiment.with_relatives", lambda sequences, split: related)
    rows = np.array([3, 0, 6, 9, 12, 15])
    guess = rows[:, None] + np.array([[9.0], [0], [-9], [1], [1], [1]])
    labels, used = join_labels(task, store, store.pin(), "mean", Path(plan.labels))
    fitted = {"rows": rows, "scores": {"embedding linear": guess}, "losses": [{"embedding linear": 2.0}],
              "pin": store.pin().to_json(), "used": used}  # fmt: skip
    assert UNTRAINED not in evaluate(task, store, plan, fitted, labels)["notes"]
    untrained = replace(store.view().info, trained=False)
    monkeypatch.setattr("protea_ray.store.spaces.SpaceInfo.from_schema", lambda schema: untrained)
    with pytest.warns(UntrainedSpaceWarning, match="never trained"):
        found = evaluate(task, store, plan, fitted, labels)
    assert (found["train_proteins"], found["test_proteins"], found["test_with_relatives"]) == (40, 6, 3)
    assert found["test"]["embedding linear"]["mse"] == pytest.approx((81 + 0 + 81 + 1 + 1 + 1) / 6)
    assert found["test_without_relatives"]["embedding linear"]["mse"] == pytest.approx(1)
    assert any("3 of 6 test proteins share" in note for note in found["notes"])
    assert found["notes"][-1] == UNTRAINED
    assert "labels" not in found["training"]

    as_json, picture = write_report(found, tmp_path / "out" / "deep")
    assert json.loads(as_json.read_text()) == json.loads(json.dumps(found))
    assert picture.read_bytes()[:4] == b"\x89PNG"
    print_report(found)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("of the test (regression): 40 train, 6 test, ")
    spearman = found["test"]["embedding linear"]["spearman"]
    assert said[2].split() == ["embedding", "linear", f"{spearman:.3f}", *said[2].split()[3:5], "1.000"]
    assert said[-1] == f"* {UNTRAINED}"

    related[:] = False  # then both figures would be the same, and there is one
    assert evaluate(task, store, plan, fitted, labels)["test_without_relatives"] == {}
    related[rows[1:]] = True  # one protein is no sample
    assert evaluate(task, store, plan, fitted, labels)["test_without_relatives"] == {}
