"""What `verify`, `repair`, `upkeep`, `index` and `alias` print, for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from protea_ray.store.alias import Alias
from protea_ray.store.findings import Finding, Report
from protea_ray.store.index import Indexed
from protea_ray.store.repair import Repaired
from protea_ray.store.upkeep import TableUpkeep

_NEXT = {
    "damage": "`protea-ray repair` takes the damaged units out; the next embed or reembed computes them again",
    "incomplete": "run embed or reembed again: it fills what is missing",
    "litter": "`protea-ray upkeep` removes what nobody needs",
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
    if not done.removals:
        console.print("no damaged unit; nothing to remove")
    elif not done.dry_run:
        console.print("the next embed or reembed computes them again")
    if done.left:
        console.print("repair cannot mend this; ingest the sources into a new store:")
        _print_lines(console, done.left)


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
