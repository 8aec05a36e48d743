"""`python -m jobs.replica PROTEINS --standard MODEL --data FOLDER --out OUT`: does local attention help long proteins?

arXiv 2501.07747 trained ESM-2 on to twice its length with local attention, and compared it with the model cut at its
trained length. Here the same steps are taken with any model (at a quarter of the scale with one that was trained on 254
residues), with the controls that the paper lacks: the same training without local attention, windows in place of a cut,
and the standard model asked for more than it was trained on. PROTEINS is a store whose proteins the model is trained on
further; the tasks' proteins go into a store in OUT. Each step that was finished is found by the same command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.program import run_program
from jobs.replica_table import Outcome, write_outcome
from protea_ray.api import embed, evaluate_spaces, train_model
from protea_ray.cli.evaluate import listed
from protea_ray.cli.outcome import INTERRUPTED
from protea_ray.config.run import load_fields
from protea_ray.errors import CheckpointError, ConfigError, EncoderError
from protea_ray.evaluate.tasks.named import read_labelled
from protea_ray.models.checkpoint import open_checkpoint

LONGEST = 40_000  # residues; no protein of the tasks is longer, so that one pass takes each whole
TRAINING = {"epochs": 5, "pack_tokens": 2_048, "step_tokens": 32_768, "weight_decay": 0.01}
STANDARD, LOCAL, EXACT, ADAPTER = "standard", "adapted-local", "adapted-exact", "adapted-qlora"


@dataclass(frozen=True)
class Scale:
    """`trained` residues of the standard model, `adapted` of the models trained on; `window` residues to either side.

    >>> Scale.of(1022), Scale.of(254)
    (Scale(trained=1022, adapted=2046, window=512), Scale(trained=254, adapted=510, window=128))
    """

    trained: int
    adapted: int
    window: int

    @classmethod
    def of(cls, trained: int) -> Scale:
        """The paper's: twice the tokens, a quarter of those to either side of a query."""
        return cls(trained, 2 * trained + 2, (trained + 2) // 2)

    @property
    def local(self) -> str:
        """The attention of the models that are trained on with it."""
        return f"local:{self.window}"


@dataclass(frozen=True)
class Row:
    """One way to embed the tasks' proteins: with which model, and the fields of the recipe beside it."""

    name: str
    meaning: str
    model: str = STANDARD
    recipe: dict[str, Any] = field(default_factory=dict)


def rows(scale: Scale) -> list[Row]:
    """The rows of the comparison, S of the standard model; all others than S windows are set beside that."""
    short = {"max_residues": scale.trained, "window_overlap": scale.trained // 4, "attention": "exact"}
    whole = {"max_residues": LONGEST, "window_overlap": 0}
    longer = {"max_residues": scale.adapted, "window_overlap": scale.adapted // 4}
    return [
        Row("S windows", "windows of the trained length, each residue from one: the default here", recipe=short),
        Row("S truncate", "cut at the trained length: the paper's standard", recipe=short | {"on_long": "truncate"}),
        Row("S average", "windows without overlap, averaged by position: the paper's reading of longer proteins",
            recipe=short | {"window_overlap": 0, "stitch": "average"}),
        Row("S exact", "one pass, however long", recipe=whole | {"attention": "exact"}),
        Row("S local", "one pass with local attention, never trained with it",
            recipe=whole | {"attention": scale.local}),
        Row("S global", "the same, the special tokens global",
            recipe=whole | {"attention": f"global:{scale.window}"}),
        Row("L", "trained on with local attention: the paper's long model", LOCAL, longer | {"attention": scale.local}),
        Row("L exact", "the same training on the same tokens, with exact attention", EXACT,
            longer | {"attention": "exact"}),
        Row("Q", "trained on with local attention, as factors beside 4-bit weights: the paper's quantised model",
            ADAPTER, longer | {"attention": scale.local}),
    ]  # fmt: skip


def training(scale: Scale, model: str, name: str) -> dict[str, Any]:
    """The fields of one training run."""
    fields = {**TRAINING, "model": model, "crop": scale.adapted, "attention": scale.local}
    if name == ADAPTER:
        return {**fields, "adapter": "qlora", "weight_decay": 0.0}
    return fields | ({"attention": "exact"} if name == EXACT else {})


def replica(
    proteins: Annotated[str, typer.Argument(metavar="PROTEINS", help="a store: the proteins of the training")],
    standard: Annotated[str, typer.Option("--standard", metavar="MODEL", help="the model that all begin from")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="folder for models, vectors and tables")],
    data: Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="holds the named tasks' files")] = None,
    tasks: Annotated[str, typer.Option("--tasks", help="named tasks or files of labels, with commas")] = (
        "go-mf,go-cc,go-bp"
    ),
    fasta: Annotated[
        list[str] | None, typer.Option("--fasta", help="the tasks' proteins [those beside the named tasks]")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="how often each probe is trained")] = 5,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda")] = "auto",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="a field of the training: --set epochs=1, --set run.workers=0")
    ] = None,
) -> None:
    """Train on, embed in nine ways, evaluate, and write OUT/replica.md, replica.json and the report."""
    wanted = listed([tasks])
    files = _proteins_of(wanted, data, fasta or [])
    scale = _scale(standard)
    given = load_fields(None, assignments or [], {})
    models, left_out = _trained(scale, proteins, standard, out, device, given)
    spaces: dict[str, str] = {}
    for row in rows(scale):
        if row.model in models:
            _embedded(row, models[row.model], files, out, device, spaces, left_out)
        else:
            left_out[row.name] = left_out[row.model]
    found = evaluate_spaces(
        out / "vectors", wanted, spaces=list(spaces.values()), data=data, controls=["composition"], seeds=seeds,
        lengths=(scale.trained, scale.adapted), out=out / "evaluation", run={"device": device},  # pyright: ignore
    )  # fmt: skip
    meanings = {row.name: row.meaning for row in rows(scale)}
    reasons = {name: why for name, why in left_out.items() if name in meanings}
    outcome = Outcome(asdict(scale), standard, meanings, spaces, reasons)
    typer.echo(write_outcome(out, found.results, outcome))
    if reasons:
        raise typer.Exit(1)


def _proteins_of(tasks: Sequence[str], data: Path | None, fasta: Sequence[str]) -> list[str]:
    """Files with the proteins of all tasks; raises ConfigError where there are none, and what is wrong with labels."""
    beside = [path for task in tasks for path in read_labelled(task, data).fasta]
    files = list(dict.fromkeys(fasta or beside))
    if not files:
        raise ConfigError("no task has its proteins beside it; name a file of them with --fasta", where="fasta")
    return files


def _scale(standard: str) -> Scale:
    """From the trained length of the model; raises ConfigError for one without."""
    trained = open_checkpoint(standard).facts.trained_length
    if trained is None:
        raise ConfigError(f"{standard} has no trained length that could be doubled; use an ESM model", where="standard")
    return Scale.of(trained)


def _trained(
    scale: Scale, proteins: str, standard: str, out: Path, device: str, given: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:  # fmt: skip
    """Directories of the models by name, and why one could not be trained. A run that was stopped goes on."""
    models, left_out = {STANDARD: standard}, dict[str, str]()
    for name in (LOCAL, EXACT, ADAPTER):
        fields: dict[str, Any] = training(scale, standard, name) | given
        if "tokens" in given:
            fields.pop("epochs")
        fields["run"] = {"device": device, **given.get("run", {})}
        try:
            if not (out / name / "model").is_dir() and train_model(proteins, out / name, **fields).stopped:
                typer.echo(f"Stopped while {name} was trained. The same command goes on.")
                raise typer.Exit(INTERRUPTED)
            models[name] = str(out / name / "model")
        except (ConfigError, CheckpointError, EncoderError) as error:
            typer.echo(f"{name} is left out: {error}")  # now: the rest takes hours
            left_out[name] = str(error)
    return models, left_out


def _embedded(
    row: Row, model: str, files: Sequence[str], out: Path, device: str, spaces: dict[str, str],
    left_out: dict[str, str],
) -> None:  # fmt: skip
    """Embed the tasks' proteins in one way: its space, or why there is none."""
    how: dict[str, Any] = {"model": model, **row.recipe, "run": {"device": device}}
    try:
        spaces[row.name] = embed(files, out / "vectors", **how).spaces[0].space
    except (ConfigError, CheckpointError, EncoderError) as error:
        left_out[row.name] = str(error)


if __name__ == "__main__":
    run_program(replica)
