"""Bring a store's proteins and rejects up to date with sources, exactly once per source.

Ray tasks read and write uncommitted fragments (`pipeline.reading`); the driver commits sources that were read whole,
all that finish within some seconds together, and their rows in `sources` last. A source whose bytes were ingested
before is not read again.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import ray
import ray.data

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.cluster.ray_metrics import Recorder
from protea_ray.config.recipe import AlphabetName
from protea_ray.config.run import RunOptions
from protea_ray.display import first_of
from protea_ray.errors import InputError
from protea_ray.pipeline.pool import remote
from protea_ray.pipeline.reading import LabelledPart, grouped, is_small, read_job
from protea_ray.pipeline.run_metrics import record_ingested
from protea_ray.sequences.inputs import Columns, Scan, Source, scan
from protea_ray.store.commit import Writer
from protea_ray.store.ledger import alphabet_suffix, recorded_sources
from protea_ray.store.location import PROTEINS_TABLE, REJECTS_TABLE, Location
from protea_ray.store.sources import SourceRow, record_sources

COMMIT_SECONDS = 5.0  # between the commits of a run's sources, at least
DRIVER_BYTES = 64 << 20  # of small sources that the driver scans itself
DRIVER_THREADS = 8  # most of the time of a remote file is waiting


@dataclass(frozen=True)
class Ingested:
    """The sources of a run by label, what they hold, and which inputs turned out to be the same bytes."""

    labels: tuple[str, ...]
    records: int
    rejects: int
    read_now: int  # sources that had to be read; the others were known byte for byte
    repeated: tuple[str, ...]  # inputs that are byte for byte another input of this run; read once


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
    report: Reporter = SILENT,
) -> Ingested:
    """Bring the store's proteins up to date with `sources`; raises InputError that lists every unusable file.

    One file read in two alphabets is two sources.
    """
    columns = columns_of(options, alphabet)
    scans, repeated = scan_all(sources, columns, options)
    suffix = limit_suffix(scans, options.limit) + alphabet_suffix(columns.alphabet)
    variant = f"{columns.id}/{columns.sequence}{suffix}"
    recorded = recorded_sources(location, variant)
    known = {s.digest: recorded[s.digest] for s in scans if s.digest in recorded}
    fresh = [_Fresh(s, label_of(s) + suffix, variant) for s in scans if s.digest not in known]
    # with a limit sources are committed in order, so those known come before those that are left
    left = options.limit and options.limit - sum(row["records"] for row in known.values())
    group = _CommitGroup(location, run, writer)
    problems: list[str] = []
    report.work(f"reading {first_of([source.name for source in sources])}", "records")
    for job, result in _read(_jobs(fresh, left), location, columns, left, run):
        problems += [problem for _, problem in result["errors"]]
        report.worked(sum(counted["records"] for _, counted in result["counts"]))
        _add_finished(group, fresh, job, result)
    group.flush()
    if problems:
        raise InputError(problems)
    labels = {source.scan.digest: source.label for source in fresh}
    labels.update((digest, row["source"]) for digest, row in known.items())
    records = sum(row["records"] for row in known.values()) + sum(row.records for row in group.recorded)
    rejects = sum(row["rejects"] for row in known.values()) + sum(row.rejects for row in group.recorded)
    return Ingested(tuple(labels[s.digest] for s in scans), records, rejects, len(fresh), tuple(repeated))


def scan_all(sources: Sequence[Source], columns: Columns, options: RunOptions) -> tuple[list[Scan], list[str]]:
    """Fingerprint every source in parallel; the second value names inputs that repeat another one's bytes.

    Small sources are scanned here, by threads, unless they are many megabytes together: starting a task takes longer.
    """
    small = [source for source in sources if is_small(source.size)]
    if sum(source.size for source in small) > DRIVER_BYTES:
        small = []
    with ThreadPoolExecutor(DRIVER_THREADS) as pool:
        results = list(pool.map(lambda source: _scan([source], columns, options.part_bytes), small))
    here = {source.uri for source in small}
    task = remote(_scan, num_cpus=0.5)
    groups = grouped([source for source in sources if source.uri not in here], lambda source: source.size)
    results += ray.get([task.remote(group, columns, options.part_bytes) for group in groups])
    by_uri: dict[str, Scan | str] = {uri: result for group in results for uri, result in group.items()}
    scans: dict[str, Scan] = {}
    problems: list[str] = []
    repeated: list[str] = []
    for source in sources:
        scanned = by_uri[source.uri]
        if isinstance(scanned, str):
            problems.append(scanned)
        elif scanned.digest in scans:
            repeated.append(source.name)
        else:
            scans[scanned.digest] = scanned
    if problems:
        raise InputError(problems)
    return list(scans.values()), repeated


def _scan(sources: Sequence[Source], columns: Columns, part_bytes: int) -> dict[str, Scan | str]:
    """The scan of each source, or why it cannot be read, by URI."""
    results: dict[str, Scan | str] = {}
    for source in sources:
        try:
            results[source.uri] = scan(source, columns, part_bytes)
        except InputError as error:
            results[source.uri] = "; ".join(error.problems)
    return results


def limit_suffix(scans: Sequence[Scan], limit: int | None) -> str:
    """Which records of a source a limit leaves depends on all sources before it, so the suffix names them all."""
    if limit is None:
        return ""
    chain = hashlib.sha256("".join(s.digest for s in scans).encode()).hexdigest()
    return f",first={limit}of{chain[:8]}"


def label_of(found: Scan) -> str:
    """Name of a source in the tables: where it was, and the first digits of its digest."""
    return f"{found.source.name}#{found.digest[:12]}"


@dataclass(frozen=True)
class _Whole:
    """A source that was read whole: its row in `sources`, and its rejects by reason and bytes for the metrics."""

    row: SourceRow
    reasons: dict[str, int]
    size: int


@dataclass
class _Fresh:
    """A source that has to be read. `results`: what the tasks gave that read parts of it alone, by first part."""

    scan: Scan
    label: str
    variant: str
    results: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_small(self) -> bool:
        """Whether one task reads all of it, and others besides."""
        return is_small(self.scan.source.size)

    @property
    def pieces(self) -> int:
        """How many tasks read it when it shares none."""
        return 1 if self.is_small else len(self.scan.parts)

    def whole(self, counts: Sequence[dict[str, Any]]) -> _Whole:
        """What it holds, from the counts of what was read."""
        records, rejects, residues = (sum(c[name] for c in counts) for name in ("records", "rejects", "residues"))
        source = self.scan.source
        row = SourceRow(
            self.label, self.scan.digest, self.variant, source.name, source.format, records, rejects, residues
        )
        reasons: Counter[str] = sum((Counter(c["reasons"]) for c in counts), Counter())
        return _Whole(row, dict(reasons), source.size)


def _jobs(fresh: Sequence[_Fresh], limit: int | None) -> list[list[LabelledPart]]:
    """What each task reads: a part of a large source, or some small sources whole.

    A limit means the first N records, so then one task reads everything in order.
    """
    pieces = [
        [LabelledPart(number, source.label, part) for part in source.scan.parts] for number, source in enumerate(fresh)
    ]
    if limit is not None:
        return [list(chain.from_iterable(pieces))] if pieces else []
    jobs: list[list[LabelledPart]] = []
    for group in grouped(pieces, lambda source: source[0].part.source.size):
        together = fresh[group[0][0].source].is_small
        jobs += [list(chain.from_iterable(group))] if together else [[piece] for piece in group[0]]
    return jobs


def _read(
    jobs: Sequence[list[LabelledPart]], location: Location, columns: Columns, limit: int | None, run: str
) -> Iterator[tuple[list[LabelledPart], dict[str, Any]]]:
    """Each job with the result of `read_job`, as soon as it is there."""
    if not jobs:
        return
    proteins, rejects = location.table(PROTEINS_TABLE), location.table(REJECTS_TABLE)
    if len(jobs) == 1 and all(is_small(piece.part.source.size) for piece in jobs[0]):
        # a data set of one task takes Ray seconds to start, for what is read here in a tenth of one
        yield jobs[0], read_job(jobs[0], columns, run, proteins, rejects, limit)
        return

    def read(row: dict[str, Any]) -> dict[str, Any]:
        result = read_job(row["job"], columns, run, proteins, rejects, limit)
        return {"number": row["number"], "result": json.dumps(result)}

    work = [{"number": number, "job": job} for number, job in enumerate(jobs)]
    for row in ray.data.from_items(work, override_num_blocks=len(work)).map(read, num_cpus=1).iter_rows():
        yield jobs[row["number"]], json.loads(row["result"])


def _add_finished(
    group: _CommitGroup, fresh: Sequence[_Fresh], job: Sequence[LabelledPart], result: dict[str, Any]
) -> None:
    """Add the sources that are whole with this result: all that a task read together, or one with its last part."""
    counts: dict[int, dict[str, Any]] = dict(result["counts"])
    if len({piece.source for piece in job}) > 1:
        whole = [fresh[number].whole([counted]) for number, counted in counts.items()]
        group.add(whole, result["proteins"], result["rejects"])
        return
    source = fresh[job[0].source]
    if counts:
        source.results[job[0].part.index] = {**result, "counts": counts[job[0].source]}
    if len(source.results) == source.pieces:
        parts = [source.results[index] for index in sorted(source.results)]
        proteins, rejects = ([f for part in parts for f in part[table]] for table in ("proteins", "rejects"))
        group.add([source.whole([part["counts"] for part in parts])], proteins, rejects)


class _CommitGroup:
    """Sources that were read whole and wait to be committed together; `recorded` are those that no longer wait.

    The first is committed at once, so a source that takes longer than COMMIT_SECONDS to read never waits for another.
    """

    def __init__(
        self, location: Location, run: str, writer: Writer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._location, self._run, self._writer, self._clock = location, run, writer, clock
        self._last = -math.inf
        self._whole: list[_Whole] = []
        self._proteins: list[str] = []
        self._rejects: list[str] = []
        self.recorded: list[SourceRow] = []

    def add(self, whole: Sequence[_Whole], proteins: Sequence[str], rejects: Sequence[str]) -> None:
        """Add sources and the fragments that hold their rows and no others; commit when it is time."""
        self._whole += whole
        self._proteins += proteins
        self._rejects += rejects
        if self._clock() - self._last >= COMMIT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commit all that wait; without any there is no new version."""
        if not self._whole:
            return
        rows, recorder = [whole.row for whole in self._whole], Recorder(run=self._run)
        record_sources(
            self._location,
            rows,
            protein_fragments=self._proteins,
            reject_fragments=self._rejects,
            run=self._run,
            writer=self._writer,
        )
        self.recorded += rows
        for whole in self._whole:
            record_ingested(recorder, whole.row.records, whole.size, whole.reasons)
        self._whole, self._proteins, self._rejects = [], [], []
        self._last = self._clock()
