"""What commands print for people: tables of the accounting, of plans, findings, drift, and rows of a store.

Ids, descriptions and names of models are data from files and never markup. Standard output is as wide as the terminal,
or 160 columns where there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pyarrow as pa
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from protea_ray.display import clock_time
from protea_ray.pipeline import accounting
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.dry_run import DryRun
from protea_ray.query.drift import Agreement, Drift
from protea_ray.query.status import SPACE_COLUMNS, StoreStatus
from protea_ray.store.aliases import Alias
from protea_ray.store.findings import Finding, Report
from protea_ray.store.forget import Forgotten, StoredSource
from protea_ray.store.index import Indexed
from protea_ray.store.repair import Repaired
from protea_ray.store.upkeep import TableUpkeep

WIDE = 160  # columns where there is no terminal to ask: 80 would cut the names of spaces in logs


def wide_console() -> Console:
    """Standard output, as wide as the terminal, without colouring of numbers."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


_NEXT = {
    "damage": "`protea-ray repair` takes damaged units and sources out; embed the same inputs again to fill them",
    "incomplete": "run embed or reembed again: it fills what is missing",
    "litter": "harmless; `protea-ray upkeep` removes files that nobody needs",
}


def print_findings(report: Report) -> None:
    """Everything that is wrong, worst first, and what to do about it."""
    console = Console(highlight=False)
    for severity, advice in _NEXT.items():
        found = [f for f in report.findings if f.severity == severity]
        _print_lines(console, found)
        if found:
            console.print(f"  {severity}: {advice}", markup=False, soft_wrap=True)
    rows = ", ".join(f"{name} {count:,}" for name, count in report.rows.items())
    console.print(f"{'sound' if report.ok else 'NOT SOUND'}: rows read: {rows}", markup=False, soft_wrap=True)


def _print_lines(console: Console, findings: Sequence[Finding]) -> None:
    for finding in findings:
        console.print(str(finding), markup=False, soft_wrap=True)


def print_repair(done: Repaired) -> None:
    """What was taken out of each space, and what repair cannot mend."""
    console = Console(highlight=False)
    verb = "would be removed" if done.dry_run else "removed"
    for removal in done.removals:
        what = f"{len(removal.units):,} unit(s) and {len(removal.fragments):,} unreadable fragment(s)"
        console.print(f"{removal.space}: {removal.rows:,} rows {verb}, {what}", markup=False, soft_wrap=True)
    for label in done.sources:
        said = "would be read" if done.dry_run else "is read"
        console.print(f"{label}: {said} again when the same input is embedded next", markup=False, soft_wrap=True)
    if not done.removals and not done.sources:
        console.print("no damaged unit; nothing to remove")
    elif done.removals and not done.dry_run:
        console.print("the next embed or reembed computes them again")
    if done.left:
        said = "repair cannot mend this; move the table's folder out of the store, repair, and embed the inputs again:"
        console.print(said, soft_wrap=True)
        _print_lines(console, done.left)


def print_sources(sources: Sequence[StoredSource]) -> None:
    """One line a source."""
    for source in sources:
        print(source)
    if not sources:
        print("no sources")


def print_forgotten(done: Forgotten) -> None:
    """What was removed of which source, by table."""
    would = "would be " if done.dry_run else ""
    for label in done.sources:
        print(f"{label}: {would}forgotten")
    print(
        f"{done.proteins:,} protein records and {done.rejects:,} rejects {would}removed; "
        f"{done.keys:,} proteins are in no other source"
    )
    for space, rows in done.vectors.items():
        print(f"{space}: {rows:,} rows {would}removed")
    if not done.dry_run:
        print("earlier versions, and pins of them, keep these rows until `protea-ray upkeep` removes the versions")


def print_upkeep(tables: Sequence[TableUpkeep], dry_run: bool) -> None:
    """One row a table."""
    console = Console(highlight=False)
    shown = Table("table", "fragments", "versions removed", "files removed", "freed")
    for t in tables:
        fragments = f"{t.fragments_before:,} -> {t.fragments_after:,}"
        shown.add_row(t.table, fragments, f"{t.versions_removed:,}", f"{t.files_removed:,}", decimal(t.bytes_removed))
    console.print(shown)
    if dry_run:
        console.print("this is what would be done; nothing was changed")


def print_indexed(found: Sequence[Indexed]) -> None:
    """One line a vector column."""
    said = {"none": "nothing to do", "build": "index built", "extend": "index extended"}
    dry = {"none": "nothing to do", "build": "an index would be built", "extend": "the index would be extended"}
    for column in found:
        what = (dry if column.dry_run else said)[column.action]
        print(f"{column.space}.{column.column}: {what}: {column.reason}")


def print_aliases(aliases: Mapping[str, Alias]) -> None:
    """Where every alias points."""
    for name, found in sorted(aliases.items()):
        version = "" if found.version is None else f" at version {found.version}"
        print(f"{name}: {found.space}{version}, moved {found.moved_at:%Y-%m-%d %H:%M} UTC by {found.run}")
    if not aliases:
        print("no aliases")


def print_drift(found: Drift) -> None:
    """One row for the sample and one for each length bucket, then what the numbers mean."""
    console = Console(highlight=False)
    for name, side in (("A", found.a), ("B", found.b)):
        text = f"{name}: {side.space} at version {side.version} ({side.model}), {side.proteins:,} proteins"
        console.print(text, soft_wrap=True, markup=False)
    table = Table("residues", "proteins", "cosine, mean", "cosine, 5 % below", f"same of {found.k} neighbours")
    for row in (found.whole, *found.buckets):
        table.add_row(*_cells(row))
    console.print(table)
    console.print(
        f"{found.whole.proteins:,} of {found.shared:,} proteins that both hold, pooling {found.pooling}; "
        f"unrelated spaces share {found.chance:.1%} of the neighbours. "
        "Cosine tells something only if B's model grew out of A's.",
        soft_wrap=True,
    )
    for note in found.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def _cells(row: Agreement) -> list[str]:
    cosines = ["-" if value is None else f"{value:.4f}" for value in (row.cosine_mean, row.cosine_low)]
    return [row.residues, f"{row.proteins:,}", *cosines, f"{row.overlap:.1%}"]


def print_plan(plan: DryRun, as_json: bool) -> None:
    """One row a space, then the prediction; with `as_json` the last line is one JSON object."""
    console = wide_console()
    table = Table("space", "to embed", "residues", "windows", "on disk", "already present", "duplicate", "rejected")
    for space in plan.spaces:
        numbers = (space.proteins, space.residues, space.windows)
        rest = (space.already_present, space.duplicate, space.rejected)
        table.add_row(space.space, *(f"{n:,}" for n in numbers), decimal(space.bytes), *(f"{n:,}" for n in rest))
    console.print(table)
    console.print(
        f"{plan.records:,} records read; about {clock_time(plan.seconds)} of embedding on {plan.actors} "
        f"{plan.device} actor(s), after {clock_time(plan.startup_seconds)} of start-up. Nothing was written."
    )
    if as_json:
        print(json.dumps({"in": plan.records, "dry_run": True, **asdict(plan)}))


def print_status(status: StoreStatus) -> None:
    """Spaces first: they are what a person came for."""
    console = wide_console()
    console.print(f"{status.uri}: {status.proteins:,} protein records", soft_wrap=True, markup=False)
    spaces = Table(*SPACE_COLUMNS)
    for row in status.space_rows():
        spaces.add_row(*row)
    console.print(spaces)
    tables = Table("table", "rows", "version", "on disk")
    for table in status.tables:
        tables.add_row(table.name, f"{table.rows:,}", str(table.version), decimal(table.bytes))
    console.print(tables)
    for line in status.facts():
        console.print(line, markup=False)


def without_vectors(rows: pa.Table) -> pa.Table:
    """The columns that a person can read; keys in hex."""
    shown = [field.name for field in rows.schema if not _is_vector(field.type) and field.name != "key"]
    table = rows.select(shown)
    if "key" in rows.schema.names:
        keys = pa.array([key.hex() for key in rows["key"].to_pylist()], pa.string())
        table = table.append_column("key", keys)
    return table


def _is_vector(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_struct(kind)


def print_rows(rows: pa.Table, at_most: int) -> None:
    """The first rows as a table; ids and descriptions are data and never markup."""
    if not len(rows):
        print("0 proteins")
        return
    console = wide_console()
    table = Table(*rows.schema.names)
    for row in rows.slice(0, at_most).to_pylist():
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)
    if len(rows) > at_most:
        console.print(f"{len(rows) - at_most:,} more; --out FILE.parquet writes all of them, with vectors")


def _cell(value: object) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("[", r"\[")[:80]


def print_summary(summary: Summary) -> None:
    """The accounting of every space, then rate and place, on standard output."""
    console = wide_console()
    space, *counts = accounting.SPACE_COLUMNS
    table = Table(space, *(f"[bold]{name}[/bold]" for name in counts))
    for row in summary.space_rows():
        table.add_row(*row)
    console.print(table)
    console.print("in = stored + duplicate + rejected + already present: checked")
    if summary.embed_seconds:
        rate = summary.residues / summary.embed_seconds
        console.print(
            f"{summary.residues:,} residues in {summary.embed_seconds:.1f} s on {summary.actors} {summary.device} "
            f"actor(s): {rate:,.0f} residues/s"
        )
        console.print(
            f"start-up {summary.startup_seconds:.1f} s from the command to the first forward pass, "
            f"{summary.load_seconds:.1f} s of it to load an encoder"
        )
    console.print(f"store: {summary.store}", soft_wrap=True)
