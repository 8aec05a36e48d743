"""Recording sources exactly once, although their rows go to three tables and no commit spans them.

A source is ingested when it has a row in `sources`, which is written last. A crash before that leaves rows in the
other two tables; the next attempt removes these first. Sources that were read at about the same time are recorded
together: what a commit costs does not depend on how many sources are in it.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import pyarrow as pa

from protea_ray.errors import StoreError
from protea_ray.sequences.records import PROTEINS_SCHEMA, REJECTS_SCHEMA
from protea_ray.store.commit import Writer
from protea_ray.store.location import PROTEINS_TABLE, REJECTS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.rows import SOURCES
from protea_ray.store.sql import among, both, equals
from protea_ray.store.tables import ensure_table


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What `sources` says of one source. `source` is its label: unique to (digest, variant), and in each of its rows.

    `variant` names the options it was read with; rejects are records too, residues those of accepted ones.
    """

    source: str
    digest: str
    variant: str
    uri: str
    format: str
    records: int
    rejects: int
    residues: int


def record_sources(
    location: Location,
    sources: Sequence[SourceRow],
    *,
    protein_fragments: Sequence[str],
    reject_fragments: Sequence[str],
    run: str,
    writer: Writer,
) -> bool:
    """Commit the rejects, the proteins and the rows in `sources` of some sources, in this order, under the lease.

    The fragments are uncommitted ones of proteins.lance and rejects.lance; one may hold rows of several of the
    sources. Returns False, with nothing written, when all of them are recorded already. Raises StoreError for a label
    that stands for other bytes, and when only some are recorded; and CommitError.
    """
    labels = [source.source for source in sources]
    if _all_recorded(location, sources):
        return False
    _remove_leftovers(location, labels, writer)
    for name, fragments in ((REJECTS_TABLE, reject_fragments), (PROTEINS_TABLE, protein_fragments)):
        if fragments:
            writer.append(location.table(name), fragments)
    added = datetime.now(UTC)
    rows = [{**asdict(s), "proteins": s.records - s.rejects, "run": run, "added": added} for s in sources]
    writer.append_table(location.table(SOURCES_TABLE), pa.Table.from_pylist(rows, SOURCES))
    return True


def _all_recorded(location: Location, sources: Sequence[SourceRow]) -> bool:
    """Whether `sources` has a row of each; raises StoreError when it has rows of some, or one of other bytes."""
    table = ensure_table(location.table(SOURCES_TABLE), SOURCES)
    of_labels = among("source", [source.source for source in sources])
    known = table.to_table(columns=["source", "digest", "variant"], filter=of_labels).to_pylist()
    wanted = {source.source: (source.digest, source.variant) for source in sources}
    for row in known:
        label = row["source"]
        if (row["digest"], row["variant"]) != wanted[label]:
            raise StoreError(f"source {label!r} was ingested from other bytes or with other options; use another label")
    recorded = {row["source"] for row in known}
    if recorded and recorded != wanted.keys():
        raise StoreError(
            f"{len(recorded)} of {len(wanted)} sources were recorded while they were read again, {min(recorded)!r} "
            "among them; run the same command again"
        )
    return bool(recorded)


def _remove_leftovers(location: Location, labels: Sequence[str], writer: Writer) -> None:
    """Remove the rows of these sources that an interrupted attempt left behind."""
    of_sources = among("source", labels)
    ensure_table(location.table(PROTEINS_TABLE), PROTEINS_SCHEMA)
    ensure_table(location.table(REJECTS_TABLE), REJECTS_SCHEMA)
    writer.remove(location.table(REJECTS_TABLE), both(of_sources, equals("stage", "ingest")) or of_sources)
    writer.remove(location.table(PROTEINS_TABLE), of_sources)
