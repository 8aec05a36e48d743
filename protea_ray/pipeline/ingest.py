"""Read sources into proteins and rejects, exactly once per source.

Ray tasks read parts and write uncommitted fragments; the driver commits a source when all its parts are there, and
its row in `sources` last. A source whose bytes were ingested before is not read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
import ray.data

from protea_ray.config.recipe import AlphabetName
from protea_ray.config.run import RunOptions
from protea_ray.errors import InputError, ProteaRayError
from protea_ray.pipeline.pool import remote
from protea_ray.sequences.inputs import Columns, Part, Scan, Source, scan
from protea_ray.sequences.read import read_part
from protea_ray.sequences.records import PROTEINS_SCHEMA, REJECTS_SCHEMA
from protea_ray.store.commit import Writer, write_fragments
from protea_ray.store.ledger import alphabet_suffix, recorded_source
from protea_ray.store.location import Location
from protea_ray.store.sources import record_source

REJECTS_HELD = 50_000  # rejects of one part kept in memory before they are written


@dataclass(frozen=True)
class Ingested:
    """The sources of a run by label, what they hold, and which inputs turned out to be the same bytes."""

    labels: tuple[str, ...]
    records: int
    rejects: int
    read_now: int  # sources that had to be read; the others were known byte for byte
    repeated: tuple[str, ...]  # inputs that are byte for byte another input of this run; read once


@dataclass
class _Pending:
    """A source whose parts are still being read."""

    scan: Scan
    label: str
    variant: str
    results: dict[int, dict[str, Any]] = field(default_factory=dict)


def columns_of(options: RunOptions, alphabet: AlphabetName | None) -> Columns:
    """The columns of tables that hold the id and the letters, and what the letters are (None: amino acids)."""
    return Columns(options.id_column, options.sequence_column, alphabet=alphabet or "aa")


def ingest(
    sources: Sequence[Source],
    location: Location,
    options: RunOptions,
    run: str,
    writer: Writer,
    alphabet: AlphabetName | None = None,
) -> Ingested:
    """Bring the store's proteins up to date with `sources`; raises InputError that lists every unusable file.

    One file read in two alphabets is two sources.
    """
    columns = columns_of(options, alphabet)
    scans, repeated = scan_all(sources, columns, options)
    suffix = limit_suffix(scans, options.limit) + alphabet_suffix(columns.alphabet)
    variant = f"{columns.id}/{columns.sequence}{suffix}"
    known = {s.digest: row for s in scans if (row := recorded_source(location, s.digest, variant))}
    fresh = {s.digest: _Pending(s, label_of(s) + suffix, variant) for s in scans if s.digest not in known}
    counts = {digest: (row["records"], row["rejects"]) for digest, row in known.items()}
    # with a limit sources are committed in order, so those known come before those that are left
    left = options.limit and options.limit - sum(records for records, _ in counts.values())
    problems = []
    for pending in _read(list(fresh.values()), location, columns, left, run):
        errors = [r["error"] for r in pending.results.values() if r.get("error")]
        if errors:
            problems += errors
            continue
        counts[pending.scan.digest] = _commit(pending, location, run, writer)
    if problems:
        raise InputError(problems)
    labels = tuple(known[s.digest]["source"] if s.digest in known else fresh[s.digest].label for s in scans)
    records, rejects = (sum(c[i] for c in counts.values()) for i in (0, 1))
    return Ingested(labels, records, rejects, len(fresh), tuple(repeated))


def scan_all(sources: Sequence[Source], columns: Columns, options: RunOptions) -> tuple[list[Scan], list[str]]:
    """Fingerprint every source in parallel; the second value names inputs that repeat another one's bytes."""
    task = remote(_scan, num_cpus=0.5)
    refs = [task.remote(source, columns, options.part_bytes) for source in sources]
    scans: dict[str, Scan] = {}
    problems, repeated = [], []
    for source, (found, error) in zip(sources, ray.get(refs), strict=True):
        if error:
            problems.append(error)
        elif found.digest in scans:
            repeated.append(source.name)
        else:
            scans[found.digest] = found
    if problems:
        raise InputError(problems)
    return list(scans.values()), repeated


def _scan(source: Source, columns: Columns, part_bytes: int) -> tuple[Scan | None, str | None]:
    try:
        return scan(source, columns, part_bytes), None
    except InputError as error:
        return None, "; ".join(error.problems)


def limit_suffix(scans: Sequence[Scan], limit: int | None) -> str:
    """Which records of a source a limit leaves depends on all sources before it, so the suffix names them all."""
    if limit is None:
        return ""
    chain = hashlib.sha256("".join(s.digest for s in scans).encode()).hexdigest()
    return f",first={limit}of{chain[:8]}"


def label_of(found: Scan) -> str:
    """Name of a source in the tables: where it was, and the first digits of its digest."""
    return f"{found.source.name}#{found.digest[:12]}"


def _read(
    pending: list[_Pending], location: Location, columns: Columns, limit: int | None, run: str
) -> Iterator[_Pending]:
    """Read all parts; yields each source when its last part is there."""
    if not pending:
        return
    parts = [(position, p.label, part) for position, p in enumerate(pending) for part in p.scan.parts]
    # a limit means the first N records, so then one task reads everything in order
    work = [{"job": parts}] if limit is not None else [{"job": [part]} for part in parts]
    proteins, rejects = location.table("proteins"), location.table("rejects")

    def read(row: dict[str, Any]) -> dict[str, Any]:
        results, left = [], limit
        for source, label, part in row["job"]:
            result = ingest_part(part, columns, label, run, proteins, rejects, left)
            left = None if left is None else left - result["records"]
            results.append({"source": source, "part": part.index, **result})
        return {"results": json.dumps(results)}

    for row in ray.data.from_items(work, override_num_blocks=len(work)).map(read, num_cpus=1).iter_rows():
        for result in json.loads(row["results"]):
            done = pending[result["source"]]
            done.results[result["part"]] = result
            if len(done.results) == len(done.scan.parts):
                yield done


def ingest_part(
    part: Part, columns: Columns, label: str, run: str, proteins: str, rejects: str, limit: int | None
) -> dict[str, Any]:
    """Read one part and write its rows as uncommitted fragments; an unusable file comes back as `error`.

    A repeated attempt reads and writes anew; fragments of the first are never committed.
    """
    counts = {"records": 0, "rejects": 0, "residues": 0}
    rejected: list[pa.RecordBatch] = []
    written: list[str] = []

    def accepted() -> Iterator[pa.RecordBatch]:
        # the store may ask for the rows again, after an attempt that failed: count and collect from the start
        counts.update(records=0, rejects=0, residues=0)
        rejected.clear()
        written.clear()
        for batch in read_part(part, columns, label, run, limit=limit):
            counts["records"] += batch.proteins.num_rows + batch.rejects.num_rows
            counts["rejects"] += batch.rejects.num_rows
            counts["residues"] += sum(batch.proteins["length"].to_pylist())
            if batch.rejects.num_rows:
                rejected.append(batch.rejects)
            if sum(b.num_rows for b in rejected) > REJECTS_HELD:
                written.extend(_write_rejects(rejects, rejected))
                rejected.clear()
            if batch.proteins.num_rows:
                yield batch.proteins

    try:
        fragments = write_fragments(
            proteins, lambda: pa.RecordBatchReader.from_batches(PROTEINS_SCHEMA, accepted()), PROTEINS_SCHEMA
        )
        if rejected:
            written.extend(_write_rejects(rejects, rejected))
    except ProteaRayError as error:
        return {"error": "; ".join(getattr(error, "problems", (str(error),))), "records": 0}
    return {**counts, "proteins": fragments, "rejected": written}


def _write_rejects(table: str, batches: Sequence[pa.RecordBatch]) -> list[str]:
    """Write rejects as uncommitted fragments; returns these as JSON."""
    return write_fragments(table, pa.Table.from_batches(batches, REJECTS_SCHEMA), REJECTS_SCHEMA)


def _commit(pending: _Pending, location: Location, run: str, writer: Writer) -> tuple[int, int]:
    """Commit a source whose parts were all read, in part order; returns (records, rejects)."""
    parts = [pending.results[index] for index in sorted(pending.results)]
    records, rejects, residues = (sum(p[name] for p in parts) for name in ("records", "rejects", "residues"))
    record_source(
        location,
        label=pending.label,
        digest=pending.scan.digest,
        variant=pending.variant,
        uri=pending.scan.source.name,
        format=pending.scan.source.format,
        records=records,
        rejects=rejects,
        residues=residues,
        protein_fragments=[f for p in parts for f in p["proteins"]],
        reject_fragments=[f for p in parts for f in p["rejected"]],
        run=run,
        writer=writer,
    )
    return records, rejects
