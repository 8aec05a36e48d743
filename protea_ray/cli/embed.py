"""`protea-ray embed` and `protea-ray reembed`: proteins in, a vector space out.

Both end with the accounting. An interrupt ends with exit code 130 and the advice to run the same command again, a gate
that is not passed with 6.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protea_ray.cli.loudness import QUIET, VERBOSE, loudness
from protea_ray.cli.options import ASSIGNMENTS, FILE, INPUT_FIELDS, JSON, STORE, fields_of, overrides
from protea_ray.cli.outcome import INTERRUPTED
from protea_ray.cli.process_start import command_start

if TYPE_CHECKING:
    from protea_ray.cluster.phases import Loudness
    from protea_ray.cluster.progress import Reporter
    from protea_ray.config.gate_file import GateConfig
    from protea_ray.config.run import RunConfig
    from protea_ray.pipeline.accounting import Summary
    from protea_ray.pipeline.gate_figures import Gate

TOO_MANY_REJECTS = 3
RERUN = "Stopped. What was finished is committed; it is safe to rerun the same command."
UNTRAINED = (
    "The model was never trained: these vectors are random and carry no biology. They show that everything works; for "
    "real ones leave out --model (small, which ships with the package), or name one that `protea-ray models` lists."
)
STARTING = "starting"
NEW_MODEL = "hub id or directory of the new checkpoint [required without --watch]"
TIMINGS = Annotated[bool, typer.Option("--timings", help="also say how long each stage of the run took")]
WATCH = "Watch (instead of --model)"


@contextmanager
def safe_to_rerun() -> Iterator[None]:
    """Turn an interrupt into the message and exit code 130; the command line library would only say "Aborted!"."""
    try:
        yield
    except KeyboardInterrupt:
        print(RERUN, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def ray_session(loud: Loudness) -> Iterator[None]:
    """A block that may start Ray: an interrupt becomes the message, and a local cluster that it started is ended.

    The end takes 2 to 7 s in which nothing else happens, so it is said.
    """
    before = _ray_runs()
    try:
        with safe_to_rerun():
            yield
    finally:
        if _ray_runs() and not before:
            from protea_ray.cluster.progress import reporter

            with suppress(KeyboardInterrupt), reporter(loud) as report:  # the result is there, or was said not to be
                report.phase("closing Ray")
                sys.modules["ray"].shutdown()


def _ray_runs() -> bool:
    """Whether this process has a Ray cluster; Ray is not imported to find out."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


@fields_of()
def embed(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT... STORE", help="files, globs, directories, URLs, - (standard input); last the store"
        ),
    ],
    config: FILE = None,
    assignments: ASSIGNMENTS = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan, embed and write nothing")] = False,
    timings: TIMINGS = False,
    as_json: JSON = False,
    verbose: VERBOSE = False,
    quiet: QUIET = False,
    **given: Any,
) -> None:
    """Embed every protein of INPUT... into STORE, exactly once; the same command again resumes."""
    started = command_start()
    loud = loudness(verbose, quiet)
    *inputs, store = split_paths(paths)
    from protea_ray.config.paths import require_paths

    require_paths(inputs, store)  # before the second that the imports take
    from protea_ray.config.run import load_fields, run_config
    from protea_ray.models.shipped import DEFAULT_MODEL

    fields = load_fields(config, assignments or [], overrides(given))
    fields.setdefault("model", DEFAULT_MODEL)
    settings = run_config(fields)
    from protea_ray.pipeline.first_look import look_at_inputs

    look_at_inputs(inputs, settings)
    if dry_run:
        plan_only(inputs, store, settings, loud, started, as_json)
        return
    with ray_session(loud):
        summary = run_now(inputs, store, settings, loud, started)
        finish(summary, settings.run.max_rejects, summary.to_json() if as_json else None, timings)


def plan_only(
    inputs: list[str], store: str, settings: RunConfig, loud: Loudness, started: float, as_json: bool
) -> None:
    """Print what the run would do and take."""
    from protea_ray.cluster.progress import reporter

    with ray_session(loud):
        with reporter(loud) as report:
            report.phase(STARTING)
            from protea_ray.pipeline.dry_run import dry_run as predict  # imports Ray

            plan = predict(inputs, store, settings, report, started=started)
        from protea_ray.cli.show_run import print_plan

        print_plan(plan, as_json)


def split_paths(paths: list[str]) -> list[str]:
    """Inputs, then the store; raises ConfigError for fewer than one input."""
    from protea_ray.errors import ConfigError

    if len(paths) < 2:
        raise ConfigError(f"give at least one INPUT and then the STORE (got only {paths[0]})", where="arguments")
    return paths


def run_now(inputs: list[str], store: str, settings: RunConfig, loud: Loudness, started: float) -> Summary:
    """Embed with progress on standard error; `started` is when the command was given, in seconds since the epoch."""
    from protea_ray.cluster.progress import reporter

    with reporter(loud) as report:
        report.phase(STARTING)
        from protea_ray.pipeline.embed import embed as run  # imports Ray

        return run(inputs, store, settings, report, started=started)


def finish(summary: Summary, max_rejects: int | None, facts: dict[str, Any] | None, timings: bool = False) -> None:
    """Print the accounting, the stages and, as JSON, `facts`; leave with code 3 when too much was rejected."""
    from protea_ray.cli.show_run import print_summary, print_timings

    print_summary(summary)
    if timings:
        print_timings(summary)
    if not summary.trained:
        print(UNTRAINED, file=sys.stderr)
    if facts is not None:
        print(json.dumps(facts))
    if max_rejects is not None and summary.rejected > max_rejects:
        reasons = ", ".join(map(str, summary.reasons))
        print(
            f"{summary.rejected} records were rejected, more than --max-rejects {max_rejects}: {reasons}",
            file=sys.stderr,
        )
        raise typer.Exit(TOO_MANY_REJECTS)


@fields_of(inherits=True, model=NEW_MODEL, **dict.fromkeys(INPUT_FIELDS))
def reembed(
    store: STORE,
    alias: Annotated[str, typer.Option("--alias", help="moves when the new space is verified")] = "current",
    since: Annotated[
        int | None, typer.Option("--since", min=1, help="only proteins added after this version of proteins.lance")
    ] = None,
    watch: Annotated[
        str | None,
        typer.Option("--watch", metavar="DIR_OR_HUB_ID", help="re-embed for every new one", rich_help_panel=WATCH),
    ] = None,
    interval: Annotated[
        float, typer.Option("--watch-interval", min=0.1, help="seconds between looks", rich_help_panel=WATCH)
    ] = 60.0,
    rounds: Annotated[
        int | None,
        typer.Option("--watch-rounds", min=1, help="how many looks [until stopped]", rich_help_panel=WATCH),
    ] = None,
    allow_untrained: Annotated[
        bool, typer.Option("--allow-untrained", help="move the alias even from a trained space to an untrained model's")
    ] = False,
    gate: Annotated[
        str | None,
        typer.Option("--gate", metavar="FILE", help="YAML of figures that the new space must reach, else code 6"),
    ] = None,
    config: FILE = None,
    assignments: ASSIGNMENTS = None,
    timings: TIMINGS = False,
    as_json: JSON = False,
    verbose: VERBOSE = False,
    quiet: QUIET = False,
    **given: Any,
) -> None:
    """Embed the proteins of STORE with another checkpoint, verify the new space, then move the alias to it.

    No input files. Recipe flags that are left out are those of the space the alias points to. The same command again
    resumes; after the end it does nothing.
    """
    started = command_start()
    loud = loudness(verbose, quiet)
    from protea_ray.cluster.progress import reporter
    from protea_ray.config.gate_file import require_fields_and_gate
    from protea_ray.config.run import load_fields

    fields = load_fields(config, assignments or [], overrides(given))
    _require_a_model(fields, watch)
    conditions = require_fields_and_gate(fields, gate)  # before the seconds that the imports take
    if watch is None:
        from protea_ray.pipeline.first_look import look_for_checkpoint

        look_for_checkpoint(fields["model"], fields.get("revision"))
    with ray_session(loud):
        with reporter(loud) as report:
            report.phase(STARTING)
            from protea_ray.pipeline.reembed import carry_out, prepare  # imports Ray
            from protea_ray.pipeline.watch import watch as watched

            judge = _opened(conditions, gate, store, report)
            if watch is not None:
                how = {"alias": alias, "since": since, "interval": interval, "rounds": rounds}
                how |= {"allow_untrained": allow_untrained, "gate": judge}
                from protea_ray.cli.show_reembed import tell_each

                tell_each(watched(store, watch, fields, report, **how), as_json)
                return
            planned = prepare(store, fields, report, alias, allow_untrained=allow_untrained, started=started)
            done = carry_out(planned, report, since, judge)
        from protea_ray.cli.show_reembed import leave_if_not_passed, tell

        tell(done)
        finish(done.summary, planned.setting.options.max_rejects, done.to_json() if as_json else None, timings)
        leave_if_not_passed(done.gate)


def _require_a_model(fields: dict[str, Any], watch: str | None) -> None:
    from protea_ray.errors import ConfigError

    if not fields.get("model") and watch is None:
        raise ConfigError("name the new checkpoint with --model", where="reembed")


def _opened(conditions: GateConfig | None, gate: str | None, store: str, report: Reporter) -> Gate | None:
    """The function that judges, once its tasks are read; None without a gate."""
    if conditions is None or gate is None:
        return None
    from protea_ray.evaluate.gate import open_gate

    return open_gate(conditions, gate, store, report)
