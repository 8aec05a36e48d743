"""One task from its labels to the metrics of its probes: join it to a pinned space, train, score the test proteins."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate import metrics
from protea_ray.evaluate.probes import ProbePlan, train
from protea_ray.evaluate.report import UNTRAINED
from protea_ray.evaluate.tasks import Task, consistent, gene_ontology, localization, own_table, with_relatives
from protea_ray.query.reader import Store
from protea_ray.query.training.labels import LabelReport, read_labels
from protea_ray.query.view import Pin
from protea_ray.sequences.accessions import match_ids

TASKS = "localization, go-mf, go-cc or table"


def make_task(name: str, data: Path, kind: str, store: Store) -> Task:
    """Labels, split and targets; raises ConfigError for a task that does not exist."""
    if name == "localization":
        return localization(data)
    known = store.where(columns=["id", "sequence"])
    sequences = dict(zip(known["id"].to_pylist(), known["sequence"].to_pylist(), strict=True))
    if name.startswith("go-"):
        return gene_ontology(data, name.removeprefix("go-"), sequences)
    if name == "table" and kind in metrics.HEADLINE:
        return own_table(data, kind, sequences)
    raise ConfigError(f"--task is {TASKS}; a table needs --kind {', '.join(metrics.HEADLINE)}", where="task")


def write_labels(task: Task, path: Path) -> Path:
    """Write id, row of the task and split of every protein to a Parquet file; returns its path."""
    rows = pa.array(range(len(task.ids)), pa.int64())
    pq.write_table(pa.table({"id": task.ids, "row": rows, "split": task.split}), path)
    return path


def join_labels(task: Task, store: Store, pin: Pin, column: str, table: Path) -> tuple[LabelReport, dict[str, int]]:
    """Join the labels to the store; returns the report and, for train and test, the number of proteins with a vector.

    Raises InputError when nothing is left to train on or to test with.
    """
    data = store.torch(pin, columns=[column], labels=read_labels(pq.read_table(table)), batch_size=1)
    sides = np.array(task.split)[np.unique(data.examples.labels)].tolist()
    used = {side: sides.count(side) for side in ("train", "test")}
    if data.report is None or min(used.values()) < 1:
        raise InputError(f"{data.report} {used}: embed the proteins of both sides of the split first")
    return data.report, used


def fit(task: Task, plan: ProbePlan, used: dict[str, int], workers: int, scratch: Path) -> dict[str, Any]:
    """Train on `workers` CPU workers; returns what `fit_probes` does on rank 0, and the proteins used."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from protea_ray.cluster.connect import connect
    from protea_ray.config.run import RunOptions

    connect(RunOptions())
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    config = {"plan": asdict(plan), "targets": task.encoded(), "used": used}
    trainer = TorchTrainer(
        train,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(storage_path=str(scratch / "ray")),
    )
    result: Any = trainer.fit()
    return {**result.return_value, "used": used}


def evaluate(task: Task, store: Store, plan: ProbePlan, fitted: dict[str, Any], labels: LabelReport) -> dict[str, Any]:
    """Metrics of every probe on the held-out proteins, and on those of them without relatives in training."""
    info = store.view(Pin(**plan.pin)).info
    rows = fitted["rows"]
    related = _with_relatives_in_training(task, store)[rows]
    truth = task.encoded()[rows]
    scores = {name: final_scores(task.kind, s, task.ancestors) for name, s in fitted["scores"].items()}
    notes = [*task.notes, str(labels), f"{int(related.sum())} of {len(rows)} test proteins share five or more "
             "six-letter words with a training protein; the last column leaves them out."]  # fmt: skip
    return {
        "task": task.name,
        "kind": task.kind,
        "store": {**fitted["pin"], "model": info.model, "trained": info.trained, "imported": info.imported},
        "train_proteins": fitted["used"]["train"],
        "test_proteins": len(rows),
        "test_with_relatives": int(related.sum()),
        "targets": list(task.names),
        "labels": labels.to_json(),
        "training": {k: v for k, v in asdict(plan).items() if k not in ("labels", "store")},
        "losses": fitted["losses"],
        "test": {name: measure(task.kind, truth, s) for name, s in scores.items()},
        "test_without_relatives": _measure_some(task.kind, truth, scores, ~related),
        "notes": [*notes, *([] if info.trained else [UNTRAINED])],
    }


def _with_relatives_in_training(task: Task, store: Store) -> np.ndarray:
    """(n,) True for test proteins with a relative in training; proteins that the store lacks have none."""
    known = store.where(columns=["id", "sequence"])
    match = match_ids(task.ids, known["id"])
    sequences = dict(zip(known["id"].to_pylist(), known["sequence"].to_pylist(), strict=True))
    return with_relatives([sequences.get(id or "", "") for id in match.ids.to_pylist()], task.split)


def final_scores(kind: str, scores: np.ndarray, ancestors: np.ndarray | None) -> np.ndarray:
    """Scores (n, outputs) as the metrics take them: (n,) of a regression, terms no less likely than descendants."""
    if kind == "regression":
        return scores[:, 0]
    return scores if ancestors is None else consistent(scores, ancestors)


def measure(kind: str, truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Metrics of a kind of task by name."""
    if kind == "multilabel":
        return metrics.multilabel(truth > 0, scores)
    return metrics.classification(truth, scores) if kind == "classification" else metrics.regression(truth, scores)


def _measure_some(kind: str, truth: np.ndarray, scores: dict[str, np.ndarray], which: np.ndarray) -> dict[str, Any]:
    """Metrics of the proteins in `which` (n,); none where that is all of them or fewer than two."""
    if which.all() or which.sum() < 2:
        return {}
    return {name: measure(kind, truth[which], s[which]) for name, s in scores.items()}
