"""The probe as a person runs it: learns what is in the vectors, reports it beside the baseline, and says its limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protea_ray.evaluate.experiment import evaluate, join_labels, write_labels
from protea_ray.evaluate.probes import ProbePlan, Share, fit_probes
from protea_ray.evaluate.tasks import Task
from protea_ray.query.reader import Store
from tests.query.training import helpers
from tests.store import build

PROTEINS = 400

for module in ("sklearn", "scipy", "matplotlib"):
    pytest.importorskip(module, reason="the extras `train` and `report` are not installed")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return helpers.make(tmp_path_factory.mktemp("probe"), PROTEINS, per_unit=100)


def probe(store: Store, folder: Path, rows: list[tuple[str, str]], kind: str, *options: str) -> dict[str, Any]:
    """Train on a table in another process; returns what it prints last."""
    labels = folder / "labels.csv"
    labels.write_text("id,target\n" + "".join(f"{id},{target}\n" for id, target in rows))
    command = [sys.executable, "-m", "jobs.train_probe", store.uri, "--task", "table", "--kind", kind,
               "--data", str(labels), "--out", str(folder / "out"), "--json", *options]  # fmt: skip
    env = {**os.environ, "RAY_ADDRESS": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_two_workers_learn_a_class_from_the_vectors(store: Store, tmp_path: Path) -> None:
    version = store.pin().version
    rows = [(f"P{n:05d}", "abc"[int(np.argmax(build.vector(n)[:3]))]) for n in range(PROTEINS)]
    found = probe(
        store,
        tmp_path,
        [*rows, ("P99999", "a")],
        "classification",
        "--workers",
        "2",
        "--epochs",
        "25",
        "--batch-size",
        "16",
        "--learning-rate",
        "0.02",
    )
    assert found["test"]["embedding linear"]["accuracy"] > 0.85
    assert found["test"]["composition linear"]["accuracy"] < 0.6
    assert set(found["test"]["embedding mlp"]) == {"accuracy", "macro_f1", "mcc"}
    assert found["train_proteins"] + found["test_proteins"] == PROTEINS
    assert (found["store"]["version"], found["store"]["trained"]) == (version, True)
    assert not any("carry no biology" in note for note in found["notes"])
    assert len(found["losses"]) == 25
    assert found["losses"][-1]["embedding linear"] < found["losses"][0]["embedding linear"] / 2
    assert json.loads((tmp_path / "out" / "probe.json").read_text()) == found
    assert (tmp_path / "out" / "probe.png").read_bytes()[:4] == b"\x89PNG"


def test_a_number_and_terms(store: Store, tmp_path: Path) -> None:
    """In this process and without Ray, whose start takes longer than the training."""
    ids = [f"P{n:05d}" for n in range(PROTEINS)]
    split = ["test" if n % 4 == 0 else "train" for n in range(PROTEINS)]
    values = [float(build.vector(n)[0] * 3 + build.vector(n)[1]) for n in range(PROTEINS)]
    number = Task("number", "regression", ids, values, split, ())
    terms = [tuple(name for name, sign in (("x", v > 0), ("y", v <= 0)) if sign) for v in values]
    several = Task("terms", "multilabel", ids, terms, split, ("x", "y"))
    pin = store.pin()
    table = write_labels(number, tmp_path / "labels.parquet")
    labels, used = join_labels(number, store, pin, "mean", table)
    assert used == {"train": 300, "test": 100}
    plan = ProbePlan(store.uri, pin.to_json(), str(table), "mean", "regression", 1, 25, 32, 2e-2, 0.0, 16, 0)
    found = evaluate(number, store, plan, _fitted(number, plan, used), labels)
    assert found["test"]["embedding linear"]["r2"] > 0.95
    assert found["test"]["embedding linear"]["spearman"] > 0.95
    assert found["test"]["composition linear"]["r2"] < 0.3
    plan = replace(plan, kind="multilabel", outputs=2)
    found = evaluate(several, store, plan, _fitted(several, plan, used), labels)
    assert found["test"]["embedding linear"]["fmax"] > 0.9
    assert found["test"]["embedding linear"]["fmax"] > found["test"]["composition linear"]["fmax"] + 0.1


def _fitted(task: Task, plan: ProbePlan, used: dict[str, int]) -> dict[str, Any]:
    share = Share(0, 1, used["train"])
    found = fit_probes(plan, torch.from_numpy(task.encoded()), share, lambda model: model, lambda losses: None)
    assert found is not None
    return {**found, "used": used}
