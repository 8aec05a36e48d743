"""A store with all that a store may hold: two sources that share proteins, rejects of both stages, three spaces.

`whole` has one row a protein, unit vectors and residue matrices. `chunked` has chunks that overlap, two poolings of
half-precision vectors of any length, and proteins that were cut off. `taken` was imported and holds some proteins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from protea_ray.sequences.records import REJECTS_SCHEMA
from protea_ray.store import aliases
from protea_ray.store.commit import write_fragments
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location, open_location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.runs import record_run
from protea_ray.store.sources import SourceRow, record_sources
from protea_ray.store.spaces import ensure_space
from protea_ray.store.tables import open_table
from tests.store import build

WHOLE, CHUNKED, TAKEN = "whole-00000001", "chunked-00000002", "taken-00000003"
SPACES = (WHOLE, CHUNKED, TAKEN)
A, B = "/data/a.fasta#aaaa11112222", "/data/b's.fasta#bbbb33334444"
OF_A, OF_B = range(12), range(8, 20)
REJECTED = {A: 3, B: 9}  # rejected while embedding into `chunked`; 9 is in both sources
CHUNK = 16
_CHUNKED = space_schema({"mean": build.WIDTH, "mean_max": 2 * build.WIDTH}, "float16", None, {})
_TAKEN = space_schema({"mean": 5}, "float32", None, {})


def reject(label: str, line: int, **changes: object) -> pa.Table:
    """One row of rejects: of the ingest, unless `changes` say otherwise."""
    row = {"id": "bad", "key": None, "source": label, "line": line, "stage": "ingest", "reason": "illegal_letter",
           "detail": "letter '1'", "attempts": 1, "run": "r1", "space": None, **changes}  # fmt: skip
    return pa.Table.from_pylist([row], REJECTS_SCHEMA)


def ingest(location: Location, label: str, numbers: Sequence[int]) -> None:
    """Record a source with these proteins and one reject."""
    proteins = build.proteins(numbers, label)
    uri, _, digest = label.rpartition("#")
    residues = sum(proteins["length"].to_pylist())
    record_sources(
        location,
        [SourceRow(label, digest + 52 * "0", "id/sequence", uri, "fasta", len(proteins) + 1, 1, residues)],
        protein_fragments=write_fragments(location.table("proteins"), proteins, proteins.schema),
        reject_fragments=write_fragments(location.table("rejects"), reject(label, 999), REJECTS_SCHEMA),
        run="r1",
        writer=build.writer(),
    )


def spans(number: int) -> list[tuple[int, int]]:
    """Chunks of at most CHUNK residues that overlap by 4, of what was seen of a protein."""
    starts = range(0, seen(number) - 4, CHUNK - 4)
    return [(start, min(start + CHUNK, seen(number))) for start in starts]


def seen(number: int) -> int:
    """Residues of a protein that `chunked` saw: every fifth protein was cut off after 9."""
    return 9 if number % 5 == 0 else len(build.sequence(number))


def chunked_rows(numbers: Sequence[int], unit: str) -> pa.Table:
    rng = np.random.default_rng(len(unit) + sum(numbers))
    of = [spans(n) for n in numbers]
    return space_rows(
        _CHUNKED,
        keys=[build.key(n) for n in numbers],
        unit=unit,
        spans=of,
        n_residues=[len(build.sequence(n)) for n in numbers],
        n_residues_seen=[seen(n) for n in numbers],
        n_windows=[len(s) for s in of],
        truncated=[seen(n) < len(build.sequence(n)) for n in numbers],
        vectors={
            "mean": [7 * rng.normal(size=(len(s), build.WIDTH)) for s in of],
            "mean_max": [3 * rng.normal(size=(len(s), 2 * build.WIDTH)) for s in of],
        },
    )


def taken_rows(numbers: Sequence[int]) -> pa.Table:
    lengths = [len(build.sequence(n)) for n in numbers]
    return space_rows(
        _TAKEN,
        keys=[build.key(n) for n in numbers],
        unit="import.1",
        spans=[(0, length) for length in lengths],
        n_residues=lengths,
        n_residues_seen=lengths,
        n_windows=[1] * len(numbers),
        truncated=[False] * len(numbers),
        vectors={"mean": [build.vector(n, 5) for n in numbers]},
    )


def append(location: Location, name: str, rows: pa.Table) -> None:
    """Commit rows to a table, as a run would."""
    build.writer().append_table(location.table(name), rows)


def store(root: Path) -> Location:
    """The store, as runs that ended in order leave it."""
    location = open_location(root)
    Lease.acquire(location).release()
    ingest(location, A, OF_A)
    ingest(location, B, OF_B)
    with_matrices = build.schema(build.WIDTH)
    ensure_space(location, build.info(WHOLE), with_matrices)
    ensure_space(location, build.info(CHUNKED, identity={"config": {"chunk_size": CHUNK}}), _CHUNKED)
    ensure_space(location, build.info(TAKEN, imported=True, identity={"import": 1}), _TAKEN)
    for start in (0, 7, 14):  # units that hold proteins of both sources
        some = range(start, min(start + 7, 20))
        append(location, WHOLE, build.rows(some, f"r1.{start}", with_matrices, with_residues=True))
        append(location, CHUNKED, chunked_rows([n for n in some if n not in REJECTED.values()], f"r1.{start}"))
    append(location, TAKEN, taken_rows([1, 2, 10, 15]))
    for label, number in REJECTED.items():
        of_space = {"key": build.key(number), "stage": "embed", "reason": "too_long", "space": CHUNKED}
        append(location, "rejects", reject(label, 2 * number + 1, **of_space))
    rest = [n for n in range(20) if n not in (1, 2, 10, 15)]
    for number in rest:  # what the imported file did not have
        of_space = {"key": build.key(number), "stage": "embed", "reason": "unmatched", "space": TAKEN}
        append(location, "rejects", reject(A if number in OF_A else B, 1, **of_space))
    aliases.move(location, "current", WHOLE, run="r1", writer=build.writer())
    record_run(location, "r1", {"stored": 20}, writer=build.writer())
    return location


def keys(location: Location, name: str, filter: str | None = None) -> set[bytes]:
    """The keys in a table, read with Lance alone."""
    return set(open_table(location.table(name)).to_table(columns=["key"], filter=filter)["key"].to_pylist())


def versions(location: Location) -> dict[str, int]:
    """The version of every table but the lease's."""
    return {name: open_table(location.table(name)).version for name in location.tables() if name != "lease"}
