"""What a store holds, for a person and as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from protea_ray.display import html_table, text_table
from protea_ray.query.evaluation_status import EVALUATION_COLUMNS, EvaluationStatus, read_evaluation_status
from protea_ray.query.space_status import SpaceStatus, read_spaces
from protea_ray.store.aliases import list_aliases
from protea_ray.store.lease import HELD, RELEASED, read_record
from protea_ray.store.location import LEASE_TABLE, OWN_TABLES, PROTEINS_TABLE, REJECTS_TABLE, Location
from protea_ray.store.next_command import command
from protea_ray.store.runs import last_run
from protea_ray.store.tables import find_table, open_table


@dataclass(frozen=True)
class TableStatus:
    """One table. `bytes` counts every file under it, those of earlier versions included."""

    name: str
    rows: int
    version: int
    bytes: int


SPACE_COLUMNS = ("space", "model", "proteins", "vectors", "differs in", "created", "alias")
TABLE_COLUMNS = ("table", "rows", "version", "bytes on disk")


@dataclass(frozen=True, repr=False)
class StoreStatus:
    """The whole store. `rejects` counts by reason.

    `writer` says who holds the lease (None: nobody), `interrupted` whose lease ended without being released.
    `evaluations` is None where nothing was evaluated.
    """

    uri: str
    proteins: int
    tables: tuple[TableStatus, ...]
    spaces: tuple[SpaceStatus, ...]
    aliases: dict[str, dict[str, Any]]
    rejects: dict[str, int]
    last_run: dict[str, Any] | None
    writer: str | None
    interrupted: str | None = None
    evaluations: EvaluationStatus | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values only; times in ISO format."""
        return plain(asdict(self))

    def space_rows(self) -> list[tuple[str, ...]]:
        """A row of text for each space, under SPACE_COLUMNS."""
        return [
            (
                space.name,
                space.described_model(),
                space.progress(),
                ", ".join(space.vectors()),
                space.differences(),
                space.created[:10],
                self._names(space.name),
            )
            for space in self.spaces
        ]

    def _names(self, space: str) -> str:
        """The aliases that point to a space, with the version that they are pinned to: `train-v1@12`."""
        at = {name: "" if alias["version"] is None else f"@{alias['version']}" for name, alias in self.aliases.items()}
        return ", ".join(f"{name}{at[name]}" for name, alias in self.aliases.items() if alias["space"] == space)

    def evaluation_rows(self) -> list[tuple[str, ...]]:
        """A row of text for each task that was evaluated, under EVALUATION_COLUMNS."""
        return [best.cells() for best in self.evaluations.best] if self.evaluations else []

    def facts(self) -> list[str]:
        """Evaluations, rejects by reason, the last run, who writes or was interrupted, what is missing: a line each."""
        lines: list[str] = []
        if self.evaluations:
            last = f"the last on {self.evaluations.latest:%Y-%m-%d %H:%M} UTC"
            lines.append(f"evaluations: {self.evaluations.cells:,} results of an input, a task and a seed, {last}")
        if self.rejects:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.rejects.items())
            lines.append(f"rejected: {reasons} (`{command('rejects', self.uri)}` shows file, line and id)")
        if self.last_run:
            lines.append(f"last run: {described_run(self.last_run)}")
        if self.writer:
            lines.append(f"being written by {self.writer}")
        elif self.interrupted:
            lines.append(f"interrupted: {self.interrupted}; what it finished is committed")
        short = [space for space in self.spaces if space.missing]
        lines += [f"{s.name}: {s.missing:,} of {s.wanted:,} proteins have no vector yet" for s in short]
        if short and not self.writer:
            lines.append(f"`{command('verify', self.uri)}` says what is missing, and the command that fills it")
        return lines

    def __repr__(self) -> str:
        title = f"{self.uri}: {self.proteins:,} protein records"
        evaluated = [text_table(EVALUATION_COLUMNS, self.evaluation_rows())] if self.evaluation_rows() else []
        return "\n".join([title, text_table(SPACE_COLUMNS, self.space_rows()), *evaluated, *self.facts()])

    def _repr_html_(self) -> str:
        tables = [(t.name, f"{t.rows:,}", str(t.version), f"{t.bytes:,}") for t in self.tables]
        title = f"{self.uri}: {self.proteins:,} protein records"
        facts = "".join(f"<p>{escape(line)}</p>" for line in self.facts())
        spaces = html_table(title, SPACE_COLUMNS, self.space_rows()) + html_table("", TABLE_COLUMNS, tables)
        evaluated = self.evaluation_rows()
        return spaces + (html_table("evaluations", EVALUATION_COLUMNS, evaluated) if evaluated else "") + facts


def status(location: Location) -> StoreStatus:
    """Read every table's latest version; raises StoreError for one that cannot be read."""
    tables = [_table(location, name) for name in location.tables()]
    rows = {t.name: t.rows for t in tables}
    writer, interrupted = _writer(location)
    aliases = {name: asdict(found) for name, found in list_aliases(location).items()}
    return StoreStatus(
        uri=location.uri,
        proteins=rows.get(PROTEINS_TABLE, 0),
        tables=tuple(tables),
        spaces=read_spaces(location, [t.name for t in tables if t.name not in OWN_TABLES]),
        aliases=aliases,
        rejects=rejects_by_reason(location),
        last_run=last_run(location),
        writer=writer,
        interrupted=interrupted,
        evaluations=read_evaluation_status(location),
    )


def _table(location: Location, name: str) -> TableStatus:
    table = open_table(location.table(name))
    size = sum(sum(b.column("size_bytes").to_pylist()) for b in table.all_files())
    return TableStatus(name, table.count_rows(), table.version, size)


def rejects_by_reason(location: Location) -> dict[str, int]:
    """How many records were rejected for each reason, most frequent first."""
    table = find_table(location.table(REJECTS_TABLE))
    counts: dict[str, int] = {}
    for batch in table.to_batches(columns=["reason"]) if table is not None else ():
        for item in batch.column("reason").value_counts().to_pylist():
            counts[item["values"]] = counts.get(item["values"], 0) + item["counts"]
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def described_run(run: Mapping[str, Any]) -> str:
    """One run in words: its kind, when it ended, and how many proteins it stored."""
    stored = run["summary"].get("stored")
    count = "" if stored is None else f", {stored:,} stored"
    return f"{run['run']} ({run['kind']}), ended {run['finished']:%Y-%m-%d %H:%M} UTC{count}"


RUN_COLUMNS = ("ended", "kind", "space", "stored", "rejected", "residues/s", "seconds", "run")


def run_rows(runs: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A row of text for each run, under RUN_COLUMNS; what a kind of run does not count stays empty."""
    return [
        (
            f"{run['finished']:%Y-%m-%d %H:%M}",
            str(run["kind"]),
            str(run["summary"].get("space", "")),
            *(_number(run["summary"].get(name)) for name in ("stored", "rejected", "residues_per_second", "seconds")),
            str(run["run"]),
        )
        for run in runs
    ]


def _number(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""


def _writer(location: Location) -> tuple[str | None, str | None]:
    """Who holds the lease, and who lost it by an interrupt; both in words, or None."""
    table = find_table(location.table(LEASE_TABLE))
    holder = read_record(table) if table is not None else None
    now = time.time()
    if holder is None or holder.state == RELEASED:
        return None, None
    if holder.state == HELD and holder.blocks(now):
        return holder.describe(now), None
    return None, holder.describe(now)


def plain(value: Any) -> Any:
    """Nested dicts, lists and tuples with every time in ISO format, which JSON can hold."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
