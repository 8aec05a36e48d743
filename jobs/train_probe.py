"""`python -m jobs.train_probe STORE --task localization --data FOLDER --out FOLDER`: a probe trained from a store.

A linear and a small MLP probe on the vectors, beside the same on the amino-acid composition, through Ray Train, from
one pinned version of a space. Tasks: `localization` and `go-mf`, `go-cc` (folders of labels as DeepLoc and TALE give
them), or a table of yours with --kind classification, multilabel or regression. Proteins must be embedded already:

    protea-ray embed proteins.fasta STORE && python -m jobs.train_probe STORE --task table --data labels.csv ...

Writes probe.json (pin, split, losses, metrics, what labels were lost) and probe.png to --out.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from protea_ray.errors import ConfigError, InputError, ProteaRayError
from protea_ray.evaluate import metrics
from protea_ray.evaluate.probes import ProbePlan, train
from protea_ray.evaluate.report import UNTRAINED, print_report, write_report
from protea_ray.evaluate.tasks import Task, consistent, gene_ontology, localization, own_table, with_relatives
from protea_ray.query.reader import Store, open_store
from protea_ray.query.search import pooling_of
from protea_ray.query.training.labels import LabelReport, read_labels
from protea_ray.query.view import Pin

TASKS = "localization, go-mf, go-cc or table"


def main(
    store: Annotated[str, typer.Argument(metavar="STORE")],
    task: Annotated[str, typer.Option(help=TASKS)],
    data: Annotated[Path, typer.Option(help="the task's folder, or your table of id, target[, split]")],
    out: Annotated[Path, typer.Option(help="folder of the report")],
    kind: Annotated[str, typer.Option(help="of your table: classification, multilabel or regression")] = "",
    space: Annotated[str, typer.Option(help="space or alias")] = "current",
    version: Annotated[int | None, typer.Option(help="of the space [the latest]")] = None,
    pooling: Annotated[str | None, typer.Option(help="vector column [mean]")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    batch_size: Annotated[int, typer.Option(min=1, help="rows of one worker's batch")] = 64,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.01,
    hidden: Annotated[int, typer.Option(min=1, help="width of the MLP")] = 256,
    workers: Annotated[int, typer.Option(min=1, help="Ray Train workers, one CPU each")] = 1,
    seed: int = 0,
    as_json: Annotated[bool, typer.Option("--json", help="last line is one JSON object")] = False,
) -> None:
    """Train, test, report."""
    opened = open_store(store)
    pin = opened.pin(space, version)
    made = make_task(task, data, kind, opened)
    column = pooling_of(opened.view(pin), pooling)
    with tempfile.TemporaryDirectory() as scratch:
        table = _write_labels(made, Path(scratch) / "labels.parquet")
        report, used = _joined(made, opened, pin, column, table)
        plan = ProbePlan(opened.uri, pin.to_json(), str(table), column, made.kind, max(1, len(made.names)), epochs,
                    batch_size, learning_rate, weight_decay, hidden, seed)  # fmt: skip
        found = evaluate(made, opened, plan, fit(made, plan, used, workers, Path(scratch)), report)
    files = write_report(found, out)
    print_report(found)
    print(f"written: {', '.join(map(str, files))}")
    if as_json:
        print(json.dumps(found))


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


def _write_labels(task: Task, path: Path) -> Path:
    rows = pa.array(range(len(task.ids)), pa.int64())
    pq.write_table(pa.table({"id": task.ids, "row": rows, "split": task.split}), path)
    return path


def _joined(task: Task, store: Store, pin: Pin, column: str, table: Path) -> tuple[LabelReport, dict[str, int]]:
    """What the labels join to, and how many proteins of each side of the split have a vector.

    Raises InputError when nothing is left to train on or to test with.
    """
    data = store.torch(pin, columns=[column], labels=read_labels(pq.read_table(table)), batch_size=1)
    sides = np.array(task.split)[np.unique(data.examples.labels)].tolist()
    used = {side: sides.count(side) for side in ("train", "test")}
    if data.report is None or min(used.values()) < 1:
        raise InputError(f"{data.report} {used}: embed the proteins of both sides of the split first")
    return data.report, used


def fit(task: Task, plan: ProbePlan, used: dict[str, int], workers: int, scratch: Path) -> dict[str, Any]:
    """Train on `workers` CPU workers; returns what rank 0 does (see protea_ray/evaluate/probes.py)."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from protea_ray.config.run import RunOptions
    from protea_ray.pipeline.cluster import connect

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
    related = _related(task, store)[rows]
    truth = task.encoded()[rows]
    scores = {name: _final(task, s) for name, s in fitted["scores"].items()}
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
        "test": {name: _measured(task.kind, truth, s) for name, s in scores.items()},
        "test_without_relatives": _strict(task.kind, truth, scores, ~related),
        "notes": [*notes, *([] if info.trained else [UNTRAINED])],
    }


def _related(task: Task, store: Store) -> np.ndarray:
    """(n,) True for test proteins with a relative in training; proteins that the store lacks have none."""
    known = store.where(columns=["id", "sequence"])
    sequences = dict(zip(known["id"].to_pylist(), known["sequence"].to_pylist(), strict=True))
    return with_relatives([sequences.get(id, "") for id in task.ids], task.split)


def _final(task: Task, scores: np.ndarray) -> np.ndarray:
    if task.kind == "regression":
        return scores[:, 0]
    return scores if task.ancestors is None else consistent(scores, task.ancestors)


def _measured(kind: str, truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    if kind == "multilabel":
        return metrics.multilabel(truth > 0, scores)
    return metrics.classification(truth, scores) if kind == "classification" else metrics.regression(truth, scores)


def _strict(kind: str, truth: np.ndarray, scores: dict[str, np.ndarray], which: np.ndarray) -> dict[str, Any]:
    if which.all() or which.sum() < 2:
        return {}
    return {name: _measured(kind, truth[which], s[which]) for name, s in scores.items()}


def run(arguments: Sequence[str] | None = None) -> None:
    """As a program: errors of ours are one line and an exit code."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app(arguments)
    except ProteaRayError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run()
