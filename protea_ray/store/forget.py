"""Forget: remove a source's records, and the vectors and rejects of proteins that no other source holds.

The row in `sources` goes first and the rows of `proteins` last. Whatever stops the removal in between leaves records
of a source that is not recorded: verify says so, and from them the same command again knows what is left to remove.
Ingesting the source anew is possible at any of these points, too. Earlier versions of the tables, which pins and
readers use, keep the rows until upkeep removes these versions.
"""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from protea_ray.cluster.progress import SILENT, Reporter
from protea_ray.display import record_text
from protea_ray.errors import StoreError
from protea_ray.sequences.records import KEY
from protea_ray.store.columns import require_removable
from protea_ray.store.commit import Writer
from protea_ray.store.keys import KeyIndex, concat_keys
from protea_ray.store.lease import Lease
from protea_ray.store.location import PROTEINS_TABLE, REJECTS_TABLE, SOURCES_TABLE, Location
from protea_ray.store.object_store_errors import is_outage, message, outage_as_store_error
from protea_ray.store.runs import new_run_id, record_run
from protea_ray.store.spaces import list_spaces
from protea_ray.store.sql import among, both, equals
from protea_ray.store.tables import count_rows, find_table

_KEYS_OF_ONE_REMOVAL = 50_000  # 0.2 s in a table of a million rows; each removal is a version
_SHORTEST_DIGEST = 4  # digits
_NAMED = 5  # sources in an error message
_INGEST, _EMBED = equals("stage", "ingest"), equals("stage", "embed")


@dataclass(frozen=True)
class StoredSource:
    """A source as the store knows it. `recorded` False: its ingest, or its removal, did not finish."""

    label: str
    uri: str
    digest: str  # of an unrecorded source only the digits in its label
    records: int
    proteins: int
    rejects: int
    added: str  # ISO time
    recorded: bool = True

    def __str__(self) -> str:
        when = f"added {self.added[:16].replace('T', ' ')}" if self.recorded else "not ingested or forgotten whole"
        return f"{self.label}: {self.records:,} records, {when}"


@dataclass(frozen=True, repr=False)
class Forgotten:
    """What a removal took out, or, in a dry run, would take out: rows of each table, `vectors` by space."""

    sources: tuple[str, ...]
    proteins: int
    rejects: int
    keys: int  # proteins that no other source holds
    vectors: dict[str, int]
    dry_run: bool

    def __repr__(self) -> str:
        return record_text("would be forgotten" if self.dry_run else "forgotten", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)


@contextmanager
def _readable(location: Location) -> Generator[None]:
    """Raise StoreError where Lance cannot read a table; outages are told apart by whoever called."""
    try:
        yield
    except (OSError, ValueError) as error:
        if is_outage(error):
            raise
        raise StoreError(
            f"a table of {location.uri} cannot be read, so nothing was removed: {message(error)}. "
            "`protea-ray verify` says which; repair it first"
        ) from error


@outage_as_store_error()
def list_sources(location: Location) -> list[StoredSource]:
    """Every source of the store in the order of ingest; last those of which only part of the rows is there.

    Raises StoreError for a table that cannot be read.
    """
    with _readable(location):
        return _list_sources(location)


def _list_sources(location: Location) -> list[StoredSource]:
    require_removable(location)
    table = find_table(location.table(SOURCES_TABLE))
    rows = {row["source"]: row for row in (table.to_table().to_pylist() if table is not None else ())}
    known = [
        StoredSource(
            *(row[name] for name in ("source", "uri", "digest", "records", "proteins", "rejects")),
            added=row["added"].isoformat(),
        )
        for row in rows.values()
    ]
    proteins, rejects = _count_by_source(location, PROTEINS_TABLE), _count_by_source(location, REJECTS_TABLE, _INGEST)
    for label in sorted({*proteins, *rejects} - rows.keys()):
        uri, _, digest = label.rpartition("#")
        digest = digest.partition(",")[0]  # behind it stand a limit or an alphabet
        numbers = proteins[label], rejects[label]
        known.append(StoredSource(label, uri, digest, sum(numbers), *numbers, added="", recorded=False))
    return known


def _count_by_source(location: Location, name: str, filter: str | None = None) -> Counter[str]:
    table = find_table(location.table(name))
    counts: Counter[str] = Counter()
    for batch in table.to_batches(columns=["source"], filter=filter) if table is not None else ():
        for item in batch.column("source").value_counts().to_pylist():
            counts[item["values"]] += item["counts"]
    return counts


@outage_as_store_error()
def forget(
    location: Location,
    source: str,
    *,
    all_versions: bool = False,
    dry_run: bool = False,
    heartbeat_seconds: float = 30.0,
    report: Reporter = SILENT,
) -> Forgotten:
    """Remove one source from the store, under the lease; with `all_versions` every version of a path.

    `source` is a label of `list_sources`, a path or URI, or the first four or more digits of a digest. Vectors and
    rejects of proteins that another source holds stay. Nothing is removed unless every table can be read. Raises
    StoreError when it names no source, or several, LeaseHeldError and CommitError.
    """
    report.phase("finding what only this source holds")
    chosen = _choose(location, source, all_versions)
    if dry_run:
        with _readable(location):
            return _plan(location, chosen, dry_run).forgotten
    with Lease.acquire(location, heartbeat_seconds) as lease:
        chosen = _choose(location, source, all_versions)
        with _readable(location):
            plan = _plan(location, chosen, dry_run)
        report.phase(f"removing {plan.forgotten.proteins:,} records and their vectors")
        _remove(location, plan, Writer(lease))
    return plan.forgotten


def _choose(location: Location, source: str, all_versions: bool) -> tuple[str, ...]:
    """The labels that `source` stands for. Raises StoreError for none, and for several unless `all_versions`."""
    known = list_sources(location)
    found: list[StoredSource] = []
    for means in _ways_to_name(source):
        found = found or [one for one in known if means(one)]
    if not found:
        near = get_close_matches(source, [name for s in known for name in (s.label, s.uri)], n=2, cutoff=0.5)
        hint = f"the nearest is {' or '.join(near)}" if near else f"it has {_shown(known) or 'none'}"
        raise StoreError(
            f"{location.uri} has no source {source!r}; {hint}. `protea-ray forget {location.uri}` lists all"
        )
    if len(found) > 1 and not all_versions:
        raise StoreError(
            f"{source!r} stands for {len(found)} sources of {location.uri}: {_shown(found)}. "
            "Name one by its label, or all with --all (all_versions=True)"
        )
    return tuple(s.label for s in found)


def _ways_to_name(text: str) -> Iterator[Callable[[StoredSource], bool]]:
    """Tests of whether a source is meant, the surest first; the first that any source passes decides."""
    path = str(Path(text).expanduser().absolute()) if "://" not in text else text
    digits = text.lower()
    yield lambda s: s.label == text
    yield lambda s: s.uri == text
    yield lambda s: s.uri == path or s.label == path
    if len(text) >= _SHORTEST_DIGEST:
        yield lambda s: s.digest.startswith(digits)


def _shown(sources: Sequence[StoredSource]) -> str:
    more = f"; and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
    return "; ".join(str(s) for s in sources[:_NAMED]) + more


@dataclass(frozen=True)
class _Plan:
    """What to remove: `vectors` are the keys to take out of each space, `rejects` those with an embed-stage reject."""

    forgotten: Forgotten
    vectors: Mapping[str, pa.Array]
    rejects: pa.Array


def _plan(location: Location, labels: tuple[str, ...], dry_run: bool) -> _Plan:
    """Read what a removal of these sources takes out, from every table that it changes."""
    gone = _keys_of_no_other(location, labels)
    index = KeyIndex(gone)
    held = {s.name: _keys_in(location, s.name, index, None) for s in list_spaces(location)}
    rejected = _keys_in(location, REJECTS_TABLE, index, both(_EMBED, "key IS NOT NULL"))
    of_sources = among("source", labels)
    forgotten = Forgotten(
        sources=labels,
        proteins=count_rows(location.table(PROTEINS_TABLE), of_sources),
        rejects=count_rows(location.table(REJECTS_TABLE), both(of_sources, _INGEST)) + len(rejected),
        keys=len(gone),
        vectors={name: len(keys) for name, keys in held.items()},
        dry_run=dry_run,
    )
    return _Plan(forgotten, {name: keys.unique() for name, keys in held.items()}, rejected.unique())


def _keys_of_no_other(location: Location, labels: tuple[str, ...]) -> pa.Array:
    """The distinct keys of these sources that no record of another source has."""
    table = find_table(location.table(PROTEINS_TABLE))
    if table is None:
        return pa.array([], KEY)
    of_sources = among("source", labels)
    own = concat_keys([b.column("key") for b in table.to_batches(columns=["key"], filter=of_sources)]).unique()
    others = np.zeros(len(own), bool)
    index = KeyIndex(own)
    for batch in table.to_batches(columns=["key"], filter=f"NOT ({of_sources})"):
        first, count = index.find(batch.column("key"))
        others[index.order[first[count > 0]]] = True
    return own.filter(pa.array(~others))


def _keys_in(location: Location, name: str, keys: KeyIndex, filter: str | None) -> pa.Array:
    """The keys of a table's rows, as far as they are among `keys`; one for each row."""
    table = find_table(location.table(name))
    batches = table.to_batches(columns=["key"], filter=filter) if table is not None else ()
    columns = [batch.column("key") for batch in batches]
    return concat_keys([column.filter(pa.array(keys.contains(column))) for column in columns])


def _remove(location: Location, plan: _Plan, writer: Writer) -> None:
    """Carry the plan out, in the order that the module's docstring gives reasons for."""
    of_sources = among("source", plan.forgotten.sources)
    _remove_rows(location, SOURCES_TABLE, of_sources, writer)
    for space, keys in plan.vectors.items():
        _remove_keys(location, space, keys, None, writer)
    _remove_keys(location, REJECTS_TABLE, plan.rejects, _EMBED, writer)
    _remove_rows(location, REJECTS_TABLE, f"({of_sources}) AND {_INGEST}", writer)
    _remove_rows(location, PROTEINS_TABLE, of_sources, writer)
    record_run(location, new_run_id(), plan.forgotten.to_json(), writer=writer, kind="forget")


def _remove_keys(location: Location, name: str, keys: pa.Array, filter: str | None, writer: Writer) -> None:
    for start in range(0, len(keys), _KEYS_OF_ONE_REMOVAL):
        some = among("key", keys.slice(start, _KEYS_OF_ONE_REMOVAL).to_pylist())
        _remove_rows(location, name, f"{filter} AND {some}" if filter else some, writer)


def _remove_rows(location: Location, name: str, filter: str, writer: Writer) -> None:
    if location.exists(name):
        writer.remove(location.table(name), filter)
