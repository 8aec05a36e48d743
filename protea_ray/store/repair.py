"""Repair: removing what is damaged, so that the next embed makes it again.

Of a space the rows of damaged units go, of evaluations those of damaged cells. Of a source whose records are damaged or
lost the row in `sources` goes, so that the next embed of the same input removes what is left of its records and reads
them again; vectors stay.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import lance

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.store.commit import Writer
from protea_ray.store.findings import Finding, Report
from protea_ray.store.lease import Lease
from protea_ray.store.location import EVALUATIONS_TABLE, OWN_TABLES, SOURCES_TABLE, Location
from protea_ray.store.sql import among
from protea_ray.store.tables import count_rows, open_table
from protea_ray.store.verify import verify

_MENDED_ELSEWHERE = {"lost_table", "lost_alias", "dangling_alias"}  # by the next embed, or by moving an alias


@dataclass(frozen=True)
class Removal:
    """What is removed from one space: `rows` of whole units, and of fragments that cannot be read at all.

    Of the table of evaluations, a unit is a cell, which the next evaluation computes again.
    """

    space: str
    units: tuple[str, ...]
    fragments: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class Repaired:
    """One repair.

    `sources`: labels of the sources that the next embed of the same inputs reads again. `left`: damage that stays.
    """

    removals: tuple[Removal, ...]
    sources: tuple[str, ...]
    left: tuple[Finding, ...]
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)


def repair(
    location: Location, space: str | None = None, *, dry_run: bool = False, heartbeat_seconds: float = 30.0,
    report: Reporter = SILENT,
) -> Repaired:  # fmt: skip
    """Verify, then remove the rows of damaged units from their spaces, and the rows in `sources` of damaged sources.

    Earlier versions keep their rows, so pinned readers still see them. Takes the lease unless `dry_run`. Raises
    LeaseHeldError, CommitError, UnknownSpaceError, and StoreError in an outage.
    """
    if dry_run:
        return plan_repair(location, verify(location, space, report))
    with Lease.acquire(location, heartbeat_seconds) as lease:
        writer = Writer(lease)
        planned = plan_repair(location, verify(location, space, report))
        report.phase("taking damaged units out")
        for removal in planned.removals:
            _remove(location.table(removal.space), removal, writer)
        if planned.sources and location.exists(SOURCES_TABLE):
            writer.remove(location.table(SOURCES_TABLE), among("source", planned.sources))
    return replace(planned, dry_run=False)


def plan_repair(location: Location, report: Report) -> Repaired:
    """What a repair would do about the findings of a report."""
    return Repaired(tuple(_removals(location, report)), _read_again(report), _left(report), dry_run=True)


def _read_again(report: Report) -> tuple[str, ...]:
    """The sources with damaged or lost records."""
    return tuple(sorted({label for finding in report.damage for label in finding.sources}))


def _left(report: Report) -> tuple[Finding, ...]:
    """Damage that neither a removal nor reading the sources again mends."""
    whole = (f for f in report.damage if f.unit is None and f.fragment is None)
    return tuple(f for f in whole if not f.sources and f.kind not in _MENDED_ELSEWHERE)


def _removals(location: Location, report: Report) -> Iterator[Removal]:
    """What to remove from each damaged space."""
    units: dict[str, set[str]] = defaultdict(set)
    fragments: dict[str, set[int]] = defaultdict(set)
    for finding in report.damage:
        if finding.table in OWN_TABLES and finding.table != EVALUATIONS_TABLE:
            continue
        if finding.fragment is not None:
            fragments[finding.table].add(finding.fragment)
        elif finding.unit is not None:
            units[finding.table].add(finding.unit)
    for space in sorted({*units, *fragments}):
        yield _removal(location, space, units[space], fragments[space])


def _removal(location: Location, space: str, units: set[str], fragments: set[int]) -> Removal:
    table = open_table(location.table(space))
    removed = [f for f in table.get_fragments() if f.fragment_id in fragments]
    kept = [f for f in table.get_fragments() if f.fragment_id not in fragments]
    damaged = among(_unit_column(space), sorted(units))
    rows = sum(f.metadata.num_rows for f in removed) + sum(f.count_rows(filter=damaged) for f in kept)
    return Removal(space, tuple(sorted(units)), tuple(sorted(fragments)), rows)


def _remove(uri: str, removal: Removal, writer: Writer) -> None:
    """Remove damaged fragments, then damaged units: the filter on `unit` could not read those fragments."""
    if removal.fragments:
        operation = lance.LanceOperation.Delete([], list(removal.fragments), "damaged fragments")
        writer.commit(uri, operation)
    if removal.units and count_rows(uri):
        writer.remove(uri, among(_unit_column(removal.space), removal.units))


def _unit_column(table: str) -> str:
    return "cell" if table == EVALUATIONS_TABLE else "unit"
