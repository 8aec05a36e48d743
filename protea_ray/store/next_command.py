"""The commands that a person runs next: exact ones, with this store, its spaces and the inputs of its sources."""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.store.aliases import CURRENT
from protea_ray.store.findings import BEING_WRITTEN, DAMAGE, SOUND, Finding, Report
from protea_ray.store.location import (
    ALIASES_TABLE,
    EVALUATIONS_TABLE,
    LEASE_TABLE,
    OWN_TABLES,
    RUNS_TABLE,
    SOURCES_TABLE,
    Location,
)
from protea_ray.store.object_store_errors import raise_unless_damage
from protea_ray.store.spaces import SpaceInfo, open_space
from protea_ray.store.tables import find_table

_MOST_INPUTS = 5  # named in a command; more are INPUT...
_WHOLE = {"unreadable", "dimension"}  # damage of a whole table, where neither a unit nor a source is known
_WITHOUT_PROTEINS = {ALIASES_TABLE, RUNS_TABLE, LEASE_TABLE, EVALUATIONS_TABLE}


def command(*words: str) -> str:
    """A command of this program as one types it into a shell."""
    return shlex.join(["protea-ray", *words])


def embed_command(location: Location, info: SpaceInfo, inputs: Sequence[str]) -> str:
    """The command that fills a space: its inputs, its checkpoint, and what is not the default of its identity.

    `inputs`: paths as they were recorded; INPUT where none or too many are known. An imported space is filled by
    importing its file again.
    """
    if info.imported:
        return command("import", "FILE", location.uri)
    some = list(inputs) if 0 < len(inputs) <= _MOST_INPUTS else ["INPUT"]
    return command("embed", *some, location.uri, *_options(info))


def _options(info: SpaceInfo) -> Iterator[str]:
    """The recipe of a space as options; a field that has no effect in it is not in its identity, and none here."""
    yield from ("--model", info.model)
    if info.checkpoint.get("revision"):
        yield from ("--revision", str(info.checkpoint["revision"]))
    recipe = {f: v for f, v in info.identity.get("config", {}).items() if f in EmbeddingConfig.model_fields}
    for field, value in recipe.items():
        flag, unset = field.replace("_", "-"), EmbeddingConfig.model_fields[field].default
        if field == "family" or value == (list(cast(Any, unset)) if isinstance(unset, tuple) else unset):
            continue
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        elif isinstance(value, list):
            yield from (f"--{flag}", ",".join(str(part) for part in cast(list[Any], value)))
        elif value is not None:
            yield from (f"--{flag}", str(value))


def inputs_of(location: Location, labels: Iterable[str] | None = None) -> list[str]:
    """The paths of the sources with these labels (None: of all); a label begins with its path."""
    try:
        table = find_table(location.table(SOURCES_TABLE))
        rows: list[dict[str, str]] = table.to_table(["source", "uri"]).to_pylist() if table is not None else []
    except BaseException as error:
        raise_unless_damage(error)
        rows = []
    known = {row["source"]: row["uri"] for row in rows}
    wanted = list(known) if labels is None else list(labels)
    return list(dict.fromkeys(known.get(label) or label.rpartition("#")[0] for label in wanted))


def ways_out(location: Location, report: Report) -> list[str]:
    """What to do about the findings of a report, in order: one command a line, or a sentence where none will do."""
    if report.state == SOUND:
        return _tidy(location, report)
    if report.state == BEING_WRITTEN:
        return [f"when it has ended: {command('verify', location.uri)}"]
    return [*_mend(location, report), *_fill(location, report), *_aliases(location, report)]


def _tidy(location: Location, report: Report) -> list[str]:
    litter = any(f.kind == "orphans" for f in report.findings)
    return [f"to remove files that nobody needs: {command('upkeep', location.uri)}"] if litter else []


def _mend(location: Location, report: Report) -> Iterator[str]:
    """Tables that cannot be mended go out of the store; then repair takes out what is damaged in the others."""
    if report.writer is not None:
        yield f"{report.writer} is writing: wait for it to end"
    whole = [f for f in report.judged if _is_whole(f)]
    for table in dict.fromkeys(f.table for f in whole):
        yield _move_out(location, table)
    damaged = [f for f in report.judged if f.severity == DAMAGE and (f.unit or f.fragment is not None or f.sources)]
    if damaged or any(f.table not in _WITHOUT_PROTEINS for f in whole):
        yield command("repair", location.uri)
    for finding in report.findings:
        if finding.kind == "half_dropped":
            yield command("drop-space", location.uri, finding.table)


def _is_whole(finding: Finding) -> bool:
    """Whether a table is damaged as a whole and nothing writes it anew, as also what is left of lost evaluations."""
    lost = finding.kind == "lost_table" and finding.table == EVALUATIONS_TABLE
    somewhere = finding.unit is not None or finding.fragment is not None or finding.sources
    return lost or (finding.kind in _WHOLE and not somewhere)


def _move_out(location: Location, table: str) -> str:
    """Moving a table's folder to a name that is no table's; an object store has no such command of its own."""
    uri = location.table(table)
    if "://" in uri:
        return f"move the folder {uri} out of the store, with your object store's own program"
    return shlex.join(["mv", uri, f"{uri}.damaged"])


def _fill(location: Location, report: Report) -> list[str]:
    """Embedding the inputs again, into each space that lost or lacks proteins."""
    gaps = [f for f in report.judged if f.severity != "litter" and f.kind not in ("half_dropped", "lost_alias")]
    gaps = [f for f in gaps if f.table not in _WITHOUT_PROTEINS]
    labels = sorted({label for f in gaps for label in f.sources})
    inputs = inputs_of(location, labels if labels and all(f.sources for f in gaps) else None)
    spaces = [name for name in report.rows if name not in OWN_TABLES]
    short = [name for name in spaces if any(f.table == name for f in gaps)] or spaces[:1]
    if not gaps:
        return []
    infos = [open_space(location, name) for name in short if location.exists(name)]
    return [embed_command(location, i, inputs) for i in infos] or [_as_then(location, inputs)]


def _as_then(location: Location, inputs: Sequence[str]) -> str:
    some = list(inputs) if 0 < len(inputs) <= _MOST_INPUTS else ["INPUT"]
    return f"{command('embed', *some, location.uri)} with the options of then"


def _aliases(location: Location, report: Report) -> Iterator[str]:
    """Pointing aliases that lead nowhere, and a lost `current`, to the fullest space that is there."""
    spaces = {name: rows for name, rows in report.rows.items() if name not in OWN_TABLES}
    to = max(spaces, key=lambda name: (spaces[name], name), default="SPACE")
    for finding in report.judged:
        if finding.table == ALIASES_TABLE:
            name = finding.detail.split(" ")[0] if finding.kind == "dangling_alias" else CURRENT
            yield command("alias", location.uri, name, to)
