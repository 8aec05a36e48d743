"""`protea-ray evaluate`: what the vectors of a store are worth on labelled tasks, beside controls.

Progress goes to standard error, tables to standard output. An interrupt ends with exit code 130; what was finished is
in the store, and the same command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protea_ray.cli.embed import STARTING, ray_session
from protea_ray.cli.loudness import QUIET, VERBOSE, loudness
from protea_ray.cli.options import ASSIGNMENTS, JSON, STORE

if TYPE_CHECKING:
    from protea_ray.config.run import RunOptions
    from protea_ray.evaluate.evaluation import Evaluation

NOTHING = "none"
_SPACES = "spaces, aliases and .h5 files: a,b:max,c@7 (a pooling, a version), or all [default: current]"
_TASKS = "localization, go-mf, go-cc, go-bp, secondary-structure, or a path, with :KIND if needed; commas, or repeated"


def evaluate(
    store: STORE,
    spaces: Annotated[list[str] | None, typer.Option("--spaces", metavar="NAMES", help=_SPACES)] = None,
    tasks: Annotated[list[str] | None, typer.Option("--tasks", metavar="NAMES", help=_TASKS)] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="holds the named tasks' files")] = None,
    controls: Annotated[
        str | None, typer.Option("--controls", help="random, composition, window, untrained, or none [default: all]")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="how often each probe is trained")] = 5,
    lengths: Annotated[
        str | None, typer.Option("--lengths", help="ends of the groups by length, in residues [1022,2046]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="write tables, plots, JSON and Parquet there")
    ] = None,
    outcomes: Annotated[
        Path | None,
        typer.Option("--outcomes", metavar="FILE", help="right or wrong by protein: .tsv, .csv, .parquet [none]"),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="a running Ray cluster; unset: RAY_ADDRESS, else local")
    ] = None,
    assignments: ASSIGNMENTS = None,
    as_json: JSON = False,
    verbose: VERBOSE = False,
    quiet: QUIET = False,
) -> None:
    """Train probes on vectors of STORE, on labelled tasks with controls, and keep each result in the store.

    The same command again computes what is missing only. An untrained control that the store lacks is embedded first.
    """
    loud = loudness(verbose, quiet)
    from protea_ray.cluster.progress import reporter
    from protea_ray.config.length_groups import LENGTHS, read_lengths

    options = run_options(assignments or [], address)
    ends = LENGTHS if lengths is None else read_lengths(lengths, "--lengths")
    with ray_session(loud):
        with reporter(loud) as report:
            report.phase(STARTING)
            from protea_ray.evaluate.evaluation import CONTROLS
            from protea_ray.evaluate.evaluation import evaluate as run

            done = run(
                store, listed(spaces or ["current"]), listed(tasks or []), report, data=data,
                controls=chosen(controls, CONTROLS), seeds=seeds, out=out, lengths=ends, outcomes=outcomes,
                options=options,
            )  # fmt: skip
        finish(done, as_json)


def listed(values: Sequence[str]) -> list[str]:
    """Options that may be repeated or written with commas, one by one; a path that has a comma is one.

    >>> listed(["go-mf,go-cc", "localization"])
    ['go-mf', 'go-cc', 'localization']
    """
    found: list[str] = []
    for value in values:
        parts = [value] if _is_path(value) or _is_path(value.rpartition(":")[0]) else value.split(",")
        found += [part.strip() for part in parts if part.strip()]
    return found


def _is_path(text: str) -> bool:
    return bool(text) and Path(text).expanduser().exists()


def chosen(controls: str | None, every: Sequence[str]) -> list[str]:
    """The controls that were named; all of them for None, none for `none`."""
    if controls is None:
        return list(every)
    return [word for word in listed([controls]) if word != NOTHING]


def run_options(assignments: list[str], address: str | None) -> RunOptions:
    """The options of the run, `--set run.NAME=VALUE`; raises ConfigError, also for a field of a recipe."""
    from protea_ray.config.run import load_fields, options_alone
    from protea_ray.errors import ConfigError

    given: dict[str, Any] = load_fields(None, assignments, {} if address is None else {"run.address": address})
    if others := [name for name in given if name != "run"]:
        raise ConfigError([f"--set {name}: evaluate takes fields of run alone, as in --set run.device=cpu"
                           for name in others])  # fmt: skip
    return options_alone(given.get("run", {}))


def finish(done: Evaluation, as_json: bool) -> None:
    """Print the tables, what was written and, as JSON, everything."""
    from protea_ray.cli.show_evaluation import print_evaluation, print_written

    print_evaluation(done.results, done.notes)
    if done.written:
        print_written(done.written)
    if as_json:
        print(json.dumps(done.to_json()))
