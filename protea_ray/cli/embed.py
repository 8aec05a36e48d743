"""`protea-ray embed`: proteins in, a vector space out.

What a person is told after Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from protea_ray.cli.options import ASSIGNMENTS, FILE, JSON, fields_of, overrides

INTERRUPTED = 130  # what a shell reports for Ctrl-C
RERUN = "Stopped. What was finished is committed; it is safe to rerun the same command."


@contextmanager
def safe_to_rerun() -> Iterator[None]:
    """Turn an interrupt into the message and exit code 130; the command line library would only say "Aborted!"."""
    try:
        yield
    except KeyboardInterrupt:
        print(RERUN, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


TOO_MANY_REJECTS = 3
UNTRAINED = (
    "The model was never trained: these vectors carry no biology. They show that everything works; name a real "
    "checkpoint with --model, for example --model facebook/esm2_t33_650M_UR50D."
)


@fields_of()
def embed(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="INPUT... STORE", help="files, globs, directories or URLs; last the store"),
    ],
    config: FILE = None,
    assignments: ASSIGNMENTS = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan, embed and write nothing")] = False,
    as_json: JSON = False,
    **given: Any,
) -> None:
    """Embed every protein of INPUT... into STORE, exactly once; the same command again resumes."""
    started = time.time()
    from protea_ray.config.run import load_fields, run_config
    from protea_ray.encoder.untrained import MODEL_NAME

    *inputs, store = split_paths(paths)
    fields = load_fields(config, assignments or [], overrides(given))
    fields.setdefault("model", MODEL_NAME)
    settings = run_config(fields)
    if dry_run:
        from protea_ray.cli.show import print_plan
        from protea_ray.run.dry import plan

        print_plan(plan(inputs, store, settings), as_json)
        return
    summary = run_now(inputs, store, settings, started)
    finish(summary, settings.run.max_rejects, summary.to_json() if as_json else None)


def split_paths(paths: list[str]) -> list[str]:
    """At least one input and the store; raises ConfigError."""
    from protea_ray.errors import ConfigError

    if len(paths) < 2:
        raise ConfigError(f"give at least one INPUT and then the STORE (got only {paths[0]})", where="arguments")
    return paths


def run_now(inputs: list[str], store: str, settings: Any, started: float) -> Any:
    """Embed with progress on standard error; `started` is when the command was given, in seconds since the epoch."""
    from protea_ray.run.driver import embed as run
    from protea_ray.run.progress import reporter

    with safe_to_rerun(), reporter() as report:
        return run(inputs, store, settings, report, started=started)


def finish(summary: Any, max_rejects: int | None, facts: dict[str, Any] | None) -> None:
    """Print the accounting and, as JSON, `facts`; leave with code 3 when too much was rejected."""
    from protea_ray.cli.show import print_summary

    print_summary(summary)
    if not summary.trained:
        print(UNTRAINED, file=sys.stderr)
    if facts is not None:
        print(json.dumps(facts))
    rejected = max(count.rejected for count in summary.spaces)
    if max_rejects is not None and rejected > max_rejects:
        print(f"{rejected} records were rejected, more than --max-rejects {max_rejects}.", file=sys.stderr)
        raise typer.Exit(TOO_MANY_REJECTS)
