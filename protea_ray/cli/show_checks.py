"""What verify, repair, upkeep, index and status print for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal

from protea_ray.cli.tables import Column, print_table, say
from protea_ray.query.status import SPACE_COLUMNS, StoreStatus
from protea_ray.store.findings import Finding, Report
from protea_ray.store.index import Indexed
from protea_ray.store.repair import Repaired
from protea_ray.store.upkeep import TableUpkeep

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


def print_upkeep(tables: Sequence[TableUpkeep], dry_run: bool) -> None:
    """One row a table."""
    rows: list[tuple[str, ...]] = []
    for t in tables:
        fragments = f"{t.fragments_before:,} -> {t.fragments_after:,}"
        rows.append((t.table, fragments, f"{t.versions_removed:,}", f"{t.files_removed:,}", decimal(t.bytes_removed)))
    numbers = ("fragments", "versions removed", "files removed", "freed")
    columns = [Column(name, right=True, keep=name != "fragments") for name in numbers]
    print_table([Column("table"), *columns], rows)
    if dry_run:
        say("this is what would be done; nothing was changed")


def print_indexed(found: Sequence[Indexed]) -> None:
    """One line a vector column."""
    said = {"none": "nothing to do", "build": "index built", "extend": "index extended"}
    dry = {"none": "nothing to do", "build": "an index would be built", "extend": "the index would be extended"}
    for column in found:
        what = (dry if column.dry_run else said)[column.action]
        print(f"{column.space}.{column.column}: {what}: {column.reason}")


def print_status(status: StoreStatus) -> None:
    """Spaces first: they are what a person came for."""
    say(f"{status.uri}: {status.proteins:,} protein records")
    columns = [Column(name, right=name == "proteins") for name in SPACE_COLUMNS]
    print_table(columns, status.space_rows())
    tables = [(t.name, f"{t.rows:,}", str(t.version), decimal(t.bytes)) for t in status.tables]
    print_table([Column("table"), *(Column(name, right=True) for name in ("rows", "version", "on disk"))], tables)
    for line in status.facts():
        say(line)
