"""Recording a source exactly once, although its rows go to three tables and no commit spans them.

A source is ingested when it has a row in `sources`, which is written last. A crash before that leaves rows in the
other two tables; the next attempt removes these first.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from protea_ray.errors import StoreError
from protea_ray.sequences.records import PROTEINS_SCHEMA, REJECTS_SCHEMA
from protea_ray.store.commit import Writer
from protea_ray.store.location import PROTEINS_TABLE, REJECTS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.rows import SOURCES
from protea_ray.store.sql import both, equals
from protea_ray.store.tables import ensure_table


def record_source(
    location: Location,
    *,
    label: str,
    digest: str,
    variant: str,
    uri: str,
    format: str,
    records: int,
    rejects: int,
    residues: int,
    protein_fragments: Sequence[str],
    reject_fragments: Sequence[str],
    run: str,
    writer: Writer,
) -> bool:
    """Commit one source's rejects, proteins and its row in `sources`, in this order, under the lease.

    `label` is the value of the rows' column `source`, unique to (digest, variant). The fragments are uncommitted ones
    of proteins.lance and rejects.lance. Returns False, with nothing written, when the source is recorded already.
    Raises StoreError for a label that stands for other bytes, and CommitError.
    """
    sources = ensure_table(location.table(SOURCES_TABLE), SOURCES)
    known = sources.to_table(filter=equals("source", label)).to_pylist()
    if known:
        if (known[0]["digest"], known[0]["variant"]) == (digest, variant):
            return False
        raise StoreError(f"source {label!r} was ingested from other bytes or with other options; use another label")
    _remove_leftovers(location, label, writer)
    for name, fragments in ((REJECTS_TABLE, reject_fragments), (PROTEINS_TABLE, protein_fragments)):
        if fragments:
            writer.append(location.table(name), fragments)
    row = {
        "source": label,
        "digest": digest,
        "variant": variant,
        "uri": uri,
        "format": format,
        "records": records,
        "proteins": records - rejects,
        "rejects": rejects,
        "residues": residues,
        "run": run,
        "added": datetime.now(UTC),
    }
    writer.append_table(location.table(SOURCES_TABLE), pa.Table.from_pylist([row], SOURCES))
    return True


def _remove_leftovers(location: Location, label: str, writer: Writer) -> None:
    """Remove the rows of this source that an interrupted attempt left behind."""
    of_source = equals("source", label)
    ensure_table(location.table(PROTEINS_TABLE), PROTEINS_SCHEMA)
    ensure_table(location.table(REJECTS_TABLE), REJECTS_SCHEMA)
    writer.remove(location.table(REJECTS_TABLE), both(of_source, equals("stage", "ingest")) or of_source)
    writer.remove(location.table(PROTEINS_TABLE), of_source)
