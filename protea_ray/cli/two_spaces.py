"""`protea-ray drift`: how far two spaces are apart and, with a gate, whether the second may take the first one's place.

A gate that is not passed ends with exit code 6, unless the drift was accepted in so many words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protea_ray.cli.embed import STARTING, ray_session
from protea_ray.cli.evaluate import listed, run_options
from protea_ray.cli.loudness import QUIET, VERBOSE, loudness
from protea_ray.cli.options import ASSIGNMENTS, JSON, STORE, tells_untrained
from protea_ray.cli.store import existing, tell

if TYPE_CHECKING:
    from protea_ray.cluster.phases import Loudness
    from protea_ray.config.gate_file import GateConfig
    from protea_ray.config.run import RunOptions
    from protea_ray.pipeline.gate_figures import Gate, GateResult
    from protea_ray.query.drift import Drift
    from protea_ray.store.location import Location

GATE = "Gate (code 6 where SPACE_B does not pass)"


@tells_untrained
def drift(
    store: STORE,
    a: Annotated[str, typer.Argument(metavar="SPACE_A", help="space or alias")],
    b: Annotated[str, typer.Argument(metavar="SPACE_B", help="space or alias")],
    sample: Annotated[int, typer.Option("--sample", min=3, max=20_000, help="proteins compared")] = 2_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="same seed, same proteins")] = 0,
    pooling: Annotated[
        str | None, typer.Option("--pooling", help="vector column [mean, else the first shared]")
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option("--gate", metavar="WHAT", help="quantised, or a gate file of reembed", rich_help_panel=GATE),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--tasks", metavar="NAMES", help="of quantised: tasks for probes", rich_help_panel=GATE),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FOLDER", help="holds the named tasks' files", rich_help_panel=GATE),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept-drift", help="code 0 all the same; says what was accepted", rich_help_panel=GATE)
    ] = False,
    assignments: ASSIGNMENTS = None,
    as_json: JSON = False,
    verbose: VERBOSE = False,
    quiet: QUIET = False,
) -> None:
    """Compare two spaces: cosine and shared neighbours, by length. For deciding whether to move an alias.

    `--gate quantised` holds the masked loss of SPACE_B, in fewer bits, and probes on --tasks against SPACE_A.
    """
    from protea_ray.cli.show import print_drift
    from protea_ray.query.drift import drift

    loud, location, options = loudness(verbose, quiet), existing(store), run_options(assignments or [], None)
    _require_fitting(gate, {"tasks": bool(tasks), "data": data is not None, "accept-drift": accept})
    conditions = _conditions(location, b, gate, listed(tasks or []), data) if gate else None
    judge = _opened(conditions, gate, location, loud) if conditions and gate else None
    comparison = drift(location, a, b, sample=sample, seed=seed, pooling=pooling)
    print_drift(comparison)
    result = _judged(location, comparison, a, judge, options, loud) if judge else None
    facts = comparison.to_json()
    if result is not None:
        _show(result, accept)
        facts |= {"gate": result.to_json(), "accepted": accept and not result.passed}
    tell(facts, as_json)
    _leave(result, accept)


def _require_fitting(gate: str | None, given: dict[str, bool]) -> None:
    """Raise ConfigError for options that would do nothing."""
    from protea_ray.config.quantised_gate import QUANTISED
    from protea_ray.errors import ConfigError

    names = [f"--{name}" for name, there in given.items() if there]
    in_the_file = [name for name in names if name != "--accept-drift"]
    if names and gate is None:
        raise ConfigError(f"{', '.join(names)} without --gate would do nothing; add --gate {QUANTISED}", where="drift")
    if in_the_file and gate != QUANTISED:
        raise ConfigError(f"{', '.join(in_the_file)}: a gate file names its own tasks and data; write them there",
                          where="drift")  # fmt: skip


def _conditions(location: Location, b: str, gate: str, tasks: Sequence[str], data: str | None) -> GateConfig:
    """The gate that was named: the built-in one, or a file. Raises ConfigError with every mistake of it."""
    from pathlib import Path

    from protea_ray.config.gate_file import read_gate
    from protea_ray.config.paths import require_inputs
    from protea_ray.config.quantised_gate import QUANTISED, quantised_gate
    from protea_ray.errors import ConfigError, did_you_mean
    from protea_ray.store.aliases import resolve
    from protea_ray.store.spaces import open_space

    if gate == QUANTISED:
        require_inputs([data] if data else [])
        space = open_space(location, *resolve(location, b))
        return quantised_gate(space.name, space.config, tasks, data)
    near = did_you_mean(gate, [QUANTISED])
    if near and not Path(gate).expanduser().exists():
        raise ConfigError(f"{gate} is neither a file nor {QUANTISED}{near}", where="--gate")
    return read_gate(gate)


def _opened(conditions: GateConfig, gate: str, location: Location, loud: Loudness) -> Gate:
    """The function that judges, once its tasks are read."""
    from protea_ray.cluster.progress import reporter
    from protea_ray.evaluate.gate import open_gate

    with reporter(loud) as report:
        report.phase(STARTING)
        return open_gate(conditions, gate, location.uri, report)


def _judged(
    location: Location, compared: Drift, a: str, judge: Gate, options: RunOptions, loud: Loudness
) -> GateResult:  # fmt: skip
    """Hold the second space against the first, as the one that an alias points to."""
    from protea_ray.cluster.progress import reporter
    from protea_ray.pipeline.gate_figures import Candidate

    with ray_session(loud), reporter(loud) as report:
        report.phase(STARTING)
        return judge(Candidate(location, compared.b.space, a, compared.a.space, options), report)


def _show(result: GateResult, accept: bool) -> None:
    """Every condition with what was wanted and found, then those that were accepted though they failed."""
    from protea_ray.cli.show_reembed import print_gate
    from protea_ray.cli.terminal import say

    print_gate(result)
    if result.passed:
        return
    say(result.sentence())
    for figure in result.failed if accept else ():
        found = "no figure" if figure.found is None else f"{figure.found:.4f}"
        say(f"accepted: {figure.figure}, {figure.condition}: {found}, where {figure.wanted:.4f} was wanted")


def _leave(result: Any, accept: bool) -> None:
    from protea_ray.cli.show_reembed import leave_if_not_passed

    if not accept:
        leave_if_not_passed(result)
