"""`python -m jobs.train_probe STORE --task localization --data FOLDER --out FOLDER`: a probe trained from a store.

A linear and a small MLP probe on the vectors, beside the same on the amino-acid composition, through Ray Train, from
one pinned version of a space. Tasks: `localization` and `go-mf`, `go-cc` (folders of labels as DeepLoc and TALE give
them), or a table of yours with --kind classification, multilabel or regression. Proteins must be embedded already:

    protea-ray embed proteins.fasta STORE && python -m jobs.train_probe STORE --task table --data labels.csv ...

Writes probe.json (pin, split, losses, metrics, what labels were lost) and probe.png to --out.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from jobs.program import run_program
from protea_ray.evaluate.experiment import TASKS, evaluate, fit, join_labels, make_task, write_labels
from protea_ray.evaluate.probes import ProbePlan
from protea_ray.evaluate.report import print_report, write_report
from protea_ray.query.reader import open_store
from protea_ray.query.search import pooling_of


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
        table = write_labels(made, Path(scratch) / "labels.parquet")
        report, used = join_labels(made, opened, pin, column, table)
        plan = ProbePlan(opened.uri, pin.to_json(), str(table), column, made.kind, max(1, len(made.names)), epochs,
                    batch_size, learning_rate, weight_decay, hidden, seed)  # fmt: skip
        found = evaluate(made, opened, plan, fit(made, plan, used, workers, Path(scratch)), report)
    files = write_report(found, out)
    print_report(found)
    print(f"written: {', '.join(map(str, files))}")
    if as_json:
        print(json.dumps(found))


def run(arguments: Sequence[str] | None = None) -> None:
    """Run as a program."""
    run_program(main, arguments)


if __name__ == "__main__":
    run()
