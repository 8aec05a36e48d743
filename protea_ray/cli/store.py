"""Commands over one store: status, verify, repair, upkeep, forget, drop-space, alias, index."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from protea_ray.cli.loudness import QUIET, loudness
from protea_ray.cli.options import JSON, STORE, tells_untrained
from protea_ray.cli.outcome import FAILED

if TYPE_CHECKING:
    from protea_ray.cluster.progress import Reporter
    from protea_ray.store.location import Location

STATE_CODES = {"sound": 0, "damaged": FAILED, "unfinished": 4, "being written": 5}
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="say what would be done, change nothing")]
ONE_SPACE = Annotated[str | None, typer.Option("--space", help="space or alias; unset: all spaces")]


def status(
    store: STORE,
    runs: Annotated[bool, typer.Option("--runs", help="the history of runs instead")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="print it again and again until Ctrl-C")] = False,
    every: Annotated[float, typer.Option("--every", min=0.1, help="seconds between two looks of --watch")] = 5.0,
    as_json: JSON = False,
) -> None:
    """Tables, spaces, models and the last run of a store; who is writing it, and how far that run is."""
    from protea_ray.cli.show_status import print_runs, print_status, watch_status
    from protea_ray.query.reader import open_store
    from protea_ray.query.status import plain
    from protea_ray.store.runs import list_runs

    opened = open_store(store)
    if runs:
        found = list_runs(opened.location)
        print_runs(found)
        tell({"runs": plain(found)}, as_json)
    elif watch:
        watch_status(opened.status, every)
    elif as_json:
        print(json.dumps(opened.status().to_json()))
    else:
        print_status(opened.status())


def verify(store: STORE, space: ONE_SPACE = None, as_json: JSON = False, quiet: QUIET = False) -> None:
    """Read everything: what is missing, doubled, damaged or left over, and the commands that mend it.

    Exit code 0 for a sound store, 1 for a damaged one, 4 for an unfinished one, 5 for one that is being written.
    """
    from protea_ray.cli.show_checks import print_findings
    from protea_ray.store.next_command import ways_out
    from protea_ray.store.verify import verify

    location = existing(store)
    with progress(quiet) as told:
        report = verify(location, named_space(location, space), told)
    commands = ways_out(location, report)
    print_findings(report, commands)
    tell({**report.to_json(), "next": commands}, as_json)
    if STATE_CODES[report.state]:
        raise typer.Exit(STATE_CODES[report.state])


def repair(
    store: STORE, space: ONE_SPACE = None, dry_run: DRY_RUN = False, as_json: JSON = False, quiet: QUIET = False
) -> None:
    """Verify, and take damaged units out, so that the next embed, or evaluation, computes them again."""
    from protea_ray.cli.show_checks import print_repair
    from protea_ray.store.next_command import ways_out
    from protea_ray.store.repair import plan_repair, repair
    from protea_ray.store.verify import verify

    location = existing(store)
    named = named_space(location, space)
    with progress(quiet) as told:
        done = None if dry_run else repair(location, named, report=told)
        report = verify(location, named, told)  # of what is left, or, for the plan, of what is there
    done = done or plan_repair(location, report)
    commands = ways_out(location, report)
    print_repair(done, commands)
    tell({**done.to_json(), "next": commands}, as_json)
    if done.left:
        raise typer.Exit(FAILED)


def upkeep(
    store: STORE,
    keep_hours: Annotated[float, typer.Option("--keep-hours", min=0, help="versions younger than this stay")] = 24,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Merge small fragments and remove old versions and left-over files; tagged and pinned versions stay."""
    from datetime import timedelta

    from protea_ray.cli.show_checks import print_upkeep
    from protea_ray.store.upkeep import upkeep

    location = existing(store)
    with progress(quiet) as told:
        tables = upkeep(location, keep=timedelta(hours=keep_hours), dry_run=dry_run, report=told)
    print_upkeep(tables, dry_run)
    tell({"dry_run": dry_run, "tables": [t.to_json() for t in tables]}, as_json)


def forget(
    store: STORE,
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="label, path or digest; unset: list all sources")
    ] = None,
    all_versions: Annotated[bool, typer.Option("--all", help="every version of a path, not only one")] = False,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Remove a source: its records, and vectors and rejects of proteins that no other source holds."""
    from protea_ray.cli.show import print_forgotten, print_sources
    from protea_ray.store.forget import forget, list_sources

    location = existing(store)
    if source is None:
        known = list_sources(location)
        print_sources(known)
        tell({"sources": [asdict(one) for one in known]}, as_json)
    else:
        with progress(quiet) as told:
            done = forget(location, source, all_versions=all_versions, dry_run=dry_run, report=told)
        print_forgotten(done)
        tell(done.to_json(), as_json)


def drop_space(
    store: STORE,
    space: Annotated[str, typer.Argument(metavar="SPACE", help="its own name; one that an alias names is refused")],
    dry_run: DRY_RUN = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask; needed where there is no terminal")] = False,
    as_json: JSON = False,
) -> None:
    """Delete a space, every version of it. Proteins and results of evaluations stay. Asks first; no way back."""
    from rich.filesize import decimal

    from protea_ray.store.upkeep import drop_space

    location = existing(store)
    rows, size = drop_space(location, space, dry_run=True)
    if not dry_run:
        ask_before_drop(location, space, f"{rows:,} rows, {decimal(size)}", yes)
        rows, size = drop_space(location, space)
    print(f"{space}: {rows:,} rows, {size:,} bytes {'would be ' if dry_run else ''}deleted")
    tell({"dry_run": dry_run, "space": space, "rows": rows, "bytes": size}, as_json)


def can_ask() -> bool:
    """Whether a person sits at a terminal: questions go to standard error, answers come from standard input."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_before_drop(location: Location, space: str, held: str, yes: bool) -> None:
    """Ask at a terminal whether a space is to go; leave with code 1 where the answer is no.

    Raises ConfigError where there is nobody to ask and --yes was not given.
    """
    from shlex import join

    from protea_ray.errors import ConfigError
    from protea_ray.store.aliases import history

    named = sorted({moved.alias for moved in history(location) if moved.space == space})
    also = f"; {', '.join(named)} pointed to it before" if named else ""
    if yes:
        return
    if not can_ask():
        command = join(["protea-ray", "drop-space", location.uri, space, "--yes"])
        raise ConfigError(
            f"{space} holds {held}{also}. There is no way back; to delete it: {command}", where="drop-space"
        )
    if not typer.confirm(f"Delete {space} ({held}{also})? There is no way back.", err=True):
        print("nothing was deleted", file=sys.stderr)
        raise typer.Exit(FAILED)


@tells_untrained
def alias(
    store: STORE,
    name: Annotated[str | None, typer.Argument(metavar="[ALIAS]", help="unset: list all aliases")] = None,
    space: Annotated[str | None, typer.Argument(metavar="[SPACE]", help="space or alias to point it to")] = None,
    version: Annotated[int | None, typer.Option("--version", min=1, help="pin a version [the latest]")] = None,
    pin: Annotated[bool, typer.Option("--pin", help="pin the versions of now; upkeep keeps them")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="end the alias; its history stays")] = False,
    history: Annotated[bool, typer.Option("--history", help="every move, of all aliases or of ALIAS")] = False,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
) -> None:
    """List aliases, or move one atomically: readers get the space before or this one.

    A pinned alias holds a version of the space and of the proteins. Needs no lease, so that readers can be moved back
    while a long run is writing.
    """
    from protea_ray.cli.alias import change, listed, show, show_history
    from protea_ray.cli.terminal import say

    location = existing(store)
    asked = {"version": version is not None, "pin": pin, "delete": delete, "history": history}
    if history:
        moves = show_history(location, name, space, asked)
        tell({"history": [listed(move) for move in moves]}, as_json)
        return
    if name is not None:
        say(change(location, name, space, version, asked, dry_run))
    tell({"dry_run": dry_run, "aliases": show(location, asked, silent=name is not None)}, as_json)


def index(
    store: STORE,
    space: Annotated[str, typer.Option("--space", help="space or alias")] = "current",
    pooling: Annotated[str | None, typer.Option("--pooling", help="vector column [all]")] = None,
    min_rows: Annotated[int, typer.Option("--min-rows", min=0, help="below this exact search is quicker")] = 50_000,
    force: Annotated[bool, typer.Option("--force", help="build anew, whatever the size")] = False,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Build or extend the vector index; `query --nearest --approximate` uses it."""
    from protea_ray.cli.show_checks import print_indexed
    from protea_ray.store.aliases import resolve
    from protea_ray.store.index import build_index

    location = existing(store)
    name, _ = resolve(location, space)
    with progress(quiet) as told:
        columns = build_index(location, name, pooling, min_rows=min_rows, force=force, dry_run=dry_run, report=told)
    print_indexed(columns)
    tell({"dry_run": dry_run, "columns": [column.to_json() for column in columns]}, as_json)


def progress(quiet: bool) -> AbstractContextManager[Reporter]:
    """Progress on standard error while the block runs."""
    from protea_ray.cluster.progress import reporter

    return reporter(loudness(verbose=False, quiet=quiet))


def existing(store: str) -> Location:
    """The location of a store; raises StoreError when there is none."""
    from protea_ray.query.reader import open_store

    return open_store(store).location


def named_space(location: Location, space: str | None) -> str | None:
    """The own name of a space or of what an alias points to; None stays None."""
    from protea_ray.store.aliases import resolve

    return None if space is None else resolve(location, space)[0]


def tell(facts: dict[str, Any], as_json: bool) -> None:
    """With --json, print the last line for programs."""
    if as_json:
        print(json.dumps(facts))
