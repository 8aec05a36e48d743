"""`protea-ray train`: proteins of a store in, a language model out, whose checkpoints `embed` and `reembed` open.

Mistakes in paths and options are said before anything is imported that takes a second. An interrupt ends with exit code
130 and a checkpoint, from which the same command goes on.
"""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protea_ray.cli.embed import safe_to_rerun
from protea_ray.cli.loudness import QUIET, VERBOSE, loudness
from protea_ray.cli.options import ASSIGNMENTS, FILE, JSON, NEW_STORE, training_fields, training_overrides
from protea_ray.cli.outcome import INTERRUPTED

if TYPE_CHECKING:
    from protea_ray.train.prediction import TrainingPrediction
    from protea_ray.train.train_here import TrainingSummary

USUAL_OVERLAP = 256  # EmbeddingConfig's window_overlap, which must be below the residues a model was trained on
OUT = Annotated[str, typer.Argument(metavar="OUT", help="directory: new, empty, or of this run, which then goes on")]


@training_fields()
def train(
    store: NEW_STORE,
    out: OUT,
    attribution: Annotated[
        str | None,
        typer.Option("--attribution", metavar="TEXT_OR_FILE", help="licence and source of the proteins, for the card"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and what it costs, train nothing")] = False,
    rate: Annotated[
        float | None, typer.Option("--rate", min=1, help="tokens/s that --dry-run reckons with [measured here]")
    ] = None,
    config: FILE = None,
    assignments: ASSIGNMENTS = None,
    as_json: JSON = False,
    verbose: VERBOSE = False,
    quiet: QUIET = False,
    **given: Any,
) -> None:
    """Train a masked language model on the proteins of STORE; the same command again goes on or ends at once.

    Needs --shape (fresh weights) or --model (weights to continue). Every checkpoint in OUT/checkpoints is a model that
    `embed --model` opens.
    """
    loud = loudness(verbose, quiet)
    from protea_ray.config.paths import require_training_paths

    require_training_paths(store, out)  # before the second that the imports take
    from protea_ray.config.run import load_fields
    from protea_ray.config.training import training_run

    recipe, options = training_run(load_fields(config, assignments or [], training_overrides(given)))
    if dry_run:
        from protea_ray.train.prediction import predict

        print_prediction(predict(store, recipe, options, rate), as_json)
        return
    start = recipe.model or f"fresh weights of shape {recipe.shape}"
    from protea_ray.train.lines import training_lines

    with safe_to_rerun(), training_lines(loud) as report:
        report.phase(f"training on the proteins of {store}, from {start}, into {out}")
        from protea_ray.train.store_run import train_on_store  # imports torch

        done = train_on_store(store, out, recipe, options, report, attribution)
    finish(store, done, recipe.crop, as_json)


def finish(store: str, done: TrainingSummary, crop: int, as_json: bool) -> None:
    """Print how the run ended and what to do next; exit code 130 when it was stopped."""
    if done.stopped is not None:
        print(f"Stopped ({done.stopped}) after step {done.step:,} of {done.steps:,}. "
              "It is safe to run the same command again: it goes on from there.", file=sys.stderr)  # fmt: skip
        raise typer.Exit(INTERRUPTED)
    found = done.validation
    if found is not None:
        print(f"{done.step:,} steps, {done.tokens:,} tokens; validation {found.loss_20:.3f} nats "
              f"\N{PLUS-MINUS SIGN} {found.standard_error:.3f}")  # fmt: skip
    print(f"model card: {done.out / 'README.md'}\nnext:")
    for line in next_commands(store, str(done.out), crop):
        print(f"  {line}")
    if as_json:
        facts = {"out": str(done.out), "step": done.step, "steps": done.steps, "tokens": done.tokens}
        print(json.dumps(facts | {"validation": found.to_json() if found else None}))


def next_commands(store: str, out: str, crop: int) -> list[str]:
    """What a person does with a model that was trained on stretches of `crop` residues, as commands."""
    place = shlex.quote(store)
    overlap = "" if crop > USUAL_OVERLAP else f" --window-overlap {crop // 4}"
    return [
        f"protea-ray reembed {place} --model {shlex.quote(out)}/model --alias candidate{overlap}",
        f"protea-ray drift {place} current candidate",
        f"protea-ray alias {place} current candidate",
        f"protea-ray reembed {place} --watch {shlex.quote(out)}/checkpoints   # beside the next run",
    ]


def print_prediction(found: TrainingPrediction, as_json: bool) -> None:
    """The plan in words; with `as_json` the last line is one JSON object."""
    for name, value in found.facts():
        print(f"{name:<12}{value}")
    print("Nothing was written.")
    if as_json:
        print(json.dumps({"dry_run": True, **found.to_json()}))
