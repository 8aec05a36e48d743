"""Checking the records: the tables proteins, rejects and sources against each other.

A source's row in `sources` is the promise that all of its records are in the other two tables, each once. `sources`
is read first: a source that a running ingest records meanwhile has its rows in the tables that are read after it.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.display import first_of
from protea_ray.sequences.records import key_of
from protea_ray.store.findings import Finding, first_keys
from protea_ray.store.keys import concat_keys
from protea_ray.store.location import PROTEINS_TABLE, REJECTS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.object_store_errors import message, raise_unless_damage
from protea_ray.store.tables import find_table

_COLUMNS = ["key", "length", "sequence", "source", "line"]


@dataclass
class Records:
    """The three tables as they were read. `proteins` and `rejects` count rows by source; None: the table is gone.

    `is_3di` says of each of `keys` whether its letters are lower case, Foldseek's structure letters. `rejects` are
    those of the ingest: what was rejected while embedding belongs to a space.
    """

    recorded: list[dict[str, int | str]] | None = None
    rejects: Counter[str] | None = None
    proteins: Counter[str] | None = None
    keys: pa.Array = field(default_factory=lambda: concat_keys([]))
    is_3di: pa.Array = field(default_factory=lambda: pa.array([], pa.bool_()))
    findings: list[Finding] = field(default_factory=list[Finding])
    unreadable: set[str] = field(default_factory=set[str])


def read_records(location: Location) -> Records:
    """Read the three tables, and check them row by row and against each other. Raises Lance's own errors of an outage.

    What cannot be read is a finding, and is not compared with anything.
    """
    read = Records()
    for name, reader in (
        (SOURCES_TABLE, _read_sources),
        (REJECTS_TABLE, _read_rejects),
        (PROTEINS_TABLE, _read_proteins),
    ):
        try:
            reader(location, read)
        except BaseException as error:  # as in verify_space.py
            raise_unless_damage(error)
            read.unreadable.add(name)
            read.findings.append(Finding("unreadable", name, message(error)[:300]))
    read.findings += [*_wrong_counts(read), *_repeated_sources(read), *_unrecorded(read)]
    return read


def _read_sources(location: Location, read: Records) -> None:
    table = find_table(location.table(SOURCES_TABLE))
    if table is not None:
        whole = table.to_table()  # every column: damage in any of them is found
        read.recorded = whole.select(["source", PROTEINS_TABLE, REJECTS_TABLE]).to_pylist()


def _read_rejects(location: Location, read: Records) -> None:
    table = find_table(location.table(REJECTS_TABLE))
    if table is not None:
        read.rejects = Counter()
        for batch in table.to_batches():
            _count(batch.filter(pc.equal(batch.column("stage"), "ingest")), read.rejects)


def _read_proteins(location: Location, read: Records) -> None:
    table = find_table(location.table(PROTEINS_TABLE))
    if table is None:
        return
    read.proteins = Counter()
    keys: list[pa.Array] = []
    lower: list[pa.Array] = [read.is_3di]
    lines: list[tuple[np.ndarray, np.ndarray]] = []
    numbers: dict[str, int] = {}
    wrong: dict[str, list[tuple[str, bytes]]] = {"wrong_key": [], "wrong_length": []}
    for batch in table.to_batches(columns=_COLUMNS):
        keys.append(batch.column("key"))
        lower.append(pc.utf8_is_lower(batch.column("sequence")))
        _count(batch, read.proteins)
        for kind, source, key in _wrong_records(batch):
            wrong[kind].append((source, key))
        labels = batch.column("source").dictionary_encode()
        of_batch = np.array([numbers.setdefault(label, len(numbers)) for label in labels.dictionary.to_pylist()], int)
        lines.append((of_batch[labels.indices.to_numpy()], batch.column("line").to_numpy()))
    read.keys, read.is_3di = concat_keys(keys), pa.concat_arrays(lower)
    read.findings += [*_by_kind(wrong), *_repeated_records(lines, list(numbers))]


def _count(batch: pa.RecordBatch, counts: Counter[str]) -> None:
    """Add the rows of a batch to the counts by source."""
    for item in batch.column("source").value_counts().to_pylist():
        counts[item["values"]] += item["counts"]


def _wrong_records(batch: pa.RecordBatch) -> Iterator[tuple[str, str, bytes]]:
    """(kind, source, key) of every record whose key or length is not that of its letters."""
    for key, length, letters, source in zip(*(batch.column(n).to_pylist() for n in _COLUMNS[:4]), strict=True):
        if not letters.isascii() or key != key_of(letters):
            yield "wrong_key", source, key
        elif length != len(letters):
            yield "wrong_length", source, key


def _by_kind(wrong: Mapping[str, list[tuple[str, bytes]]]) -> Iterator[Finding]:
    what = {"wrong_key": "key", "wrong_length": "length"}
    for kind, records in wrong.items():
        if records:
            sources = tuple(sorted({source for source, _ in records}))
            detail = f"{len(records)} records of {first_of(sources)} whose {what[kind]} is not that of their letters"
            keys = first_keys(key for _, key in records)
            yield Finding(kind, PROTEINS_TABLE, detail, len(records), keys=keys, sources=sources)


def _repeated_records(lines: list[tuple[np.ndarray, np.ndarray]], labels: list[str]) -> Iterator[Finding]:
    """Find the records that repeat the source and line of another; `lines` are numbers of `labels`, and lines."""
    if not lines:
        return
    source, line = (np.concatenate([part[i] for part in lines]) for i in (0, 1))
    order = np.lexsort((line, source))
    source, line = source[order], line[order]
    again = (source[1:] == source[:-1]) & (line[1:] == line[:-1])
    count = int(again.sum())
    if count:
        numbers: list[int] = np.unique(source[1:][again]).tolist()
        sources = tuple(sorted(labels[number] for number in numbers))
        detail = f"{count} records of {first_of(sources)} repeat the line of another record"
        yield Finding("repeated_record", PROTEINS_TABLE, detail, count, sources=sources)


def _wrong_counts(read: Records) -> Iterator[Finding]:
    """Find the sources that have another number of rows than `sources` says, in the tables that are there."""
    counted = {PROTEINS_TABLE: read.proteins, REJECTS_TABLE: read.rejects}
    for table, counts in counted.items():
        if counts is None or table in read.unreadable:
            continue
        said = {str(row["source"]): int(row[table]) for row in read.recorded or ()}
        wrong = sorted(label for label, number in said.items() if counts[label] != number)
        if wrong:
            shown = first_of([f"{label}: {said[label]} recorded, {counts[label]} there" for label in wrong])
            detail = f"{len(wrong)} sources have another number of rows than recorded ({shown})"
            yield Finding("wrong_count", table, detail, len(wrong), sources=tuple(wrong))


def _repeated_sources(read: Records) -> Iterator[Finding]:
    """Find the sources with more than one row in `sources`."""
    rows = Counter(str(row["source"]) for row in read.recorded or ())
    again = tuple(sorted(label for label, count in rows.items() if count > 1))
    if again:
        detail = f"{len(again)} sources are recorded more than once: {first_of(again)}"
        yield Finding("repeated_record", SOURCES_TABLE, detail, len(again), sources=again)


def _unrecorded(read: Records) -> Iterator[Finding]:
    """Find the sources with rows in proteins or rejects but none in `sources`, where that table is there."""
    if read.recorded is None:
        return
    recorded = {row["source"] for row in read.recorded}
    for table, counts in ((PROTEINS_TABLE, read.proteins), (REJECTS_TABLE, read.rejects)):
        for label, number in sorted((counts or Counter[str]()).items()):
            if label not in recorded:
                detail = f"{number} rows of {label}, whose ingest or removal did not finish"
                yield Finding("unrecorded_source", table, detail, number, sources=(label,))


def lost_tables(location: Location, read: Records, vectors: Mapping[str, int]) -> Iterator[Finding]:
    """Find the tables that others speak of and that are gone. `vectors`: rows of every space, by its name."""
    said = {
        table: tuple(sorted(str(row["source"]) for row in read.recorded or () if row[table]))
        for table in (PROTEINS_TABLE, REJECTS_TABLE)
    }
    again = "vectors that are there are kept"
    held = sum(vectors.values())
    if read.proteins is None and PROTEINS_TABLE not in read.unreadable and (said[PROTEINS_TABLE] or held):
        detail = f"is gone, though {len(said[PROTEINS_TABLE])} sources and {held} vectors speak of it; {again}"
        yield Finding("lost_table", PROTEINS_TABLE, detail, sources=said[PROTEINS_TABLE])
    if read.rejects is None and REJECTS_TABLE not in read.unreadable and said[REJECTS_TABLE]:
        detail = f"is gone, though {len(said[REJECTS_TABLE])} sources have rejects; {again}"
        yield Finding("lost_table", REJECTS_TABLE, detail, sources=said[REJECTS_TABLE])
    labels = tuple(sorted({*(read.proteins or ()), *(read.rejects or ())}))
    if read.recorded is None and SOURCES_TABLE not in read.unreadable and labels:
        detail = f"is gone, though other tables hold rows of {len(labels)} sources"
        yield Finding("lost_table", SOURCES_TABLE, detail, sources=labels)
    for name in location.tables_without_version():
        if not (name == PROTEINS_TABLE and (said[PROTEINS_TABLE] or held)):
            yield Finding("lost_table", name, "has data files and no version that names them")
