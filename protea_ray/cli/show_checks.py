"""What verify, repair, upkeep, index and status print for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.filesize import decimal

from protea_ray.cli.terminal import Column, print_table, say
from protea_ray.store.findings import Report
from protea_ray.store.index import Indexed
from protea_ray.store.repair import Repaired
from protea_ray.store.upkeep import TableUpkeep

_LINE = 100  # columns


def print_findings(report: Report, commands: Sequence[str]) -> None:
    """The state first, then everything that is wrong, worst first, then the commands that lead out of it."""
    _say_wrapped(report.headline())
    order = ("damage", "incomplete", "litter")
    for finding in sorted(report.judged, key=lambda f: order.index(f.severity)):
        _say_wrapped(
            f"  {str(finding).replace(report.uri, '').replace(report.uri.strip('/'), '')}"
        )  # paths in the store
    _say_next(commands)
    _say_wrapped(f"rows read: {', '.join(f'{name} {count:,}' for name, count in report.rows.items())}")


def _say_next(commands: Sequence[str]) -> None:
    """The commands that come next, numbered where there are several; none is wrapped, so that it can be copied."""
    for number, line in enumerate(commands, 1):
        say(f"next{f' ({number})' if len(commands) > 1 else ''}: {line}")


def _say_wrapped(text: str) -> None:
    """Say a text in lines of at most 100 columns; a path or name that is longer stays whole."""
    indent = " " * (len(text) - len(text.lstrip()))
    for line in textwrap.wrap(text, _LINE, subsequent_indent=f"{indent}    ", initial_indent=indent,
                              break_long_words=False, break_on_hyphens=False):  # fmt: skip
        say(line)


def print_repair(done: Repaired, commands: Sequence[str]) -> None:
    """What was taken out of each space, what repair cannot mend, and the commands that come next."""
    verb = "would be removed" if done.dry_run else "removed"
    for removal in done.removals:
        what = f"{len(removal.units):,} unit(s) and {len(removal.fragments):,} unreadable fragment(s)"
        _say_wrapped(f"{removal.space}: {removal.rows:,} rows {verb}, {what}")
    for label in done.sources:
        said = "would be read" if done.dry_run else "is read"
        _say_wrapped(f"{label}: {said} again when the same input is embedded next")
    if not done.removals and not done.sources:
        say("no damaged unit; nothing to remove")
    for finding in done.left:
        _say_wrapped(f"repair cannot mend this: {finding}")
    _say_next(commands)


def print_upkeep(tables: Sequence[TableUpkeep], dry_run: bool) -> None:
    """One row a table, and all of them together."""
    about = "about " if dry_run else ""
    rows: list[tuple[str, ...]] = []
    for t in tables:
        fragments = f"{t.fragments_before:,} -> {t.fragments_after:,}"
        freed = f"{about if t.bytes_removed else ''}{decimal(t.bytes_removed)}"
        rows.append((t.table, fragments, f"{t.versions_removed:,}", f"{t.files_removed:,}", freed))
    numbers = ("fragments", "versions removed", "data files removed", "freed")
    columns = [Column(name, right=True, keep=name != "fragments") for name in numbers]
    print_table([Column("table"), *columns], rows)
    freed = sum(t.bytes_removed for t in tables)
    if dry_run:
        say(f"{about}{decimal(freed)} would be freed; nothing was changed")
    else:
        say(f"{decimal(freed)} freed")


def print_indexed(found: Sequence[Indexed]) -> None:
    """One line a vector column: what was done, why, and how many rows the index covers."""
    said = {"none": "nothing to do", "build": "index built", "extend": "index extended"}
    dry = {"none": "nothing to do", "build": "an index would be built", "extend": "the index would be extended"}
    for column in found:
        what = (dry if column.dry_run else said)[column.action]
        covers = f"; {column.indexed:,} of {column.rows:,} rows are in it" if column.indexed else ""
        say(f"{column.space}.{column.column}: {what}: {column.reason}{covers}")
