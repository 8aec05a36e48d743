"""`python -m benchmarks.reading [--rows 1000000]`: how fast a store is read, beside plain Lance.

Makes a store of random half-precision vectors, then measures in a fresh process each, figures side by side:

* the torch loader (shuffled, batches of 256) against a plain `lance` scan of the same column: at least half its rate,
  and the same peak memory after a quarter of the rows as after all of them;
* 1,000 random proteins by id through `Store.get` against that full scan: less than a fifth of its time.

Ends with exit code 1 when a target is missed. Every figure is the best of `--repeats`, since other programs only add.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import lance
import numpy as np
import pyarrow as pa
import typer

from protea_ray.query.reader import open_store
from protea_ray.sequences.records import PROTEINS_SCHEMA, key_of
from protea_ray.store.commit import Writer, write_fragments
from protea_ray.store.location import PROTEINS_TABLE, Location, open_location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.spaces import SpaceInfo, ensure_space
from protea_ray.store.tables import ensure_table

SPACE = "bench"
UNIT = 8192
UNITS_PER_FRAGMENT = 8
BATCH = 256
ASKED = 1000
SCAN_SHARE, LOOKUP_SHARE = 0.5, 0.2  # what the loader must reach, what looking up may take
LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def main(
    rows: Annotated[int, typer.Option(help="proteins in the store")] = 1_000_000,
    width: Annotated[int, typer.Option(help="length of a vector")] = 1280,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    store: Annotated[Path | None, typer.Option(help="keep or reuse the store here [a temporary one]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="last line is one JSON object")] = False,
) -> None:
    """Measure reading."""
    with tempfile.TemporaryDirectory() as scratch:
        at = store or Path(scratch) / "store"
        if not at.exists():
            began = time.perf_counter()
            make_store(open_location(at), rows, width)
            print(f"made {rows:,} x {width} float16 in {time.perf_counter() - began:.0f} s")
        found = measure(str(at), repeats)
    _print(found)
    if as_json:
        print(json.dumps(found))
    if found["loader_share"] < SCAN_SHARE or found["lookup_share"] >= LOOKUP_SHARE:
        raise typer.Exit(1)


def measure(store: str, repeats: int) -> dict[str, Any]:
    """Rates in rows a second, seconds, and peak resident memory in MB."""
    scan = _best(scan_all, store, repeats)
    loader = _best(load_all, store, repeats)
    quarter = _in_process(load_quarter, store)
    lookup = _best(look_up, store, repeats)
    return {
        "rows": scan["rows"],
        "scan": scan,
        "loader": loader,
        "loader_quarter": quarter,
        "lookup": lookup,
        "loader_share": scan["seconds"] / loader["seconds"],
        "lookup_share": lookup["seconds"] / scan["seconds"],
    }


def _best(task: Callable[[str], dict[str, Any]], store: str, repeats: int) -> dict[str, Any]:
    return min((_in_process(task, store) for _ in range(repeats)), key=lambda found: found["seconds"])


def _in_process(task: Callable[[str], dict[str, Any]], store: str) -> dict[str, Any]:
    """In a process of its own, so that peak memory is that of the task."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, (store,))


def scan_all(store: str) -> dict[str, Any]:
    """Plain Lance: every vector once, in batches."""
    table = lance.dataset(f"{store}/{SPACE}.lance")
    return _timed(len(batch) for batch in table.to_batches(columns=["mean"]))


def load_all(store: str) -> dict[str, Any]:
    """The torch data set, shuffled; finding the examples is timed apart."""
    return _load(store, share=1)


def load_quarter(store: str) -> dict[str, Any]:
    """As `load_all`, but stopped after a quarter of the batches."""
    return _load(store, share=4)


def _load(store: str, share: int) -> dict[str, Any]:
    began = time.perf_counter()
    data = open_store(store).torch(columns=["mean"], batch_size=BATCH, shuffle=True, seed=1)
    prepared = time.perf_counter() - began
    wanted = len(data) // share
    batches = (len(batch["mean"]) for _, batch in zip(range(wanted), data, strict=False))
    return {**_timed(batches), "prepare_seconds": prepared}


def look_up(store: str) -> dict[str, Any]:
    """1,000 random proteins by id, with their vectors."""
    opened = open_store(store)
    total = lance.dataset(f"{store}/{PROTEINS_TABLE}.lance").count_rows()
    asked = np.random.default_rng(time.time_ns()).choice(total, min(ASKED, total), replace=False)
    ids = [f"P{n:08d}" for n in asked.tolist()]
    return _timed(len(opened.get(ids, columns=["mean"])) for _ in range(1))


def _timed(counts: Iterator[int]) -> dict[str, Any]:
    began = time.perf_counter()
    rows = sum(counts)
    seconds = time.perf_counter() - began
    return {"rows": rows, "seconds": seconds, "rows_per_second": rows / seconds, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    """Of this process alone: on Linux `ru_maxrss` begins with what the parent held."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _print(found: dict[str, Any]) -> None:
    print(f"{'':28}{'rows':>10} {'seconds':>9} {'rows/s':>10} {'peak MB':>9}")
    for name, title in (("scan", "lance scan"), ("loader", "torch loader, shuffled"),
                        ("loader_quarter", "  a quarter of it"), ("lookup", "by id")):  # fmt: skip
        row = found[name]
        print(f"{title:28}{row['rows']:>10,} {row['seconds']:>9.2f} {row['rows_per_second']:>10,.0f} "
              f"{row['peak_mb']:>9,.0f}")  # fmt: skip
    print(f"loader / scan rate: {found['loader_share']:.2f} (at least {SCAN_SHARE}); the loader was ready after "
          f"{found['loader']['prepare_seconds']:.2f} s")  # fmt: skip
    print(f"by id / scan time: {found['lookup_share']:.3f} (below {LOOKUP_SHARE})")


def make_store(location: Location, rows: int, width: int) -> None:
    """Random proteins of 60 residues and random unit-scale vectors."""
    info = SpaceInfo(
        name=SPACE,
        identity={"synthetic": True, "width": width},
        config={"pooling": ["mean"], "chunk_size": None},
        checkpoint={"model": "random numbers"},
        hidden=width,
        run="bench",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        trained=False,
    )
    schema = space_schema({"mean": width}, "float16", None, {})
    ensure_space(location, info, schema)
    ensure_table(location.table(PROTEINS_TABLE), PROTEINS_SCHEMA)
    fragments: dict[str, list[str]] = {SPACE: [], PROTEINS_TABLE: []}
    step = UNIT * UNITS_PER_FRAGMENT
    for first in range(0, rows, step):
        units = [_unit(start, min(UNIT, rows - start), width, schema)
                 for start in range(first, min(first + step, rows), UNIT)]  # fmt: skip
        for name, table in zip((PROTEINS_TABLE, SPACE), map(pa.concat_tables, zip(*units, strict=True)), strict=True):
            fragments[name] += write_fragments(location.table(name), table, table.schema)
    writer = Writer.unleased()  # a fresh store that nobody else knows
    for name, written in fragments.items():
        writer.append(location.table(name), written)


def _unit(first: int, count: int, width: int, schema: pa.Schema) -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(first)
    letters = ["".join(row) for row in LETTERS[rng.integers(20, size=(count, 60))]]
    keys = [key_of(s) for s in letters]
    proteins = pa.table(
        {
            "id": [f"P{n:08d}" for n in range(first, first + count)],
            "key": pa.array(keys, PROTEINS_SCHEMA.field("key").type),
            "length": pa.array([60] * count, pa.int32()),
            "sequence": letters,
            "description": [""] * count,
            "source": ["bench"] * count,
            "line": pa.array(range(first, first + count), pa.int64()),
        },
        schema=PROTEINS_SCHEMA,
    )
    full = np.full(count, 60)
    vectors = space_rows(
        schema,
        keys=keys,
        unit=f"bench.{first}",
        spans=[(0, 60)] * count,
        n_residues=full,
        n_residues_seen=full,
        n_windows=np.ones(count, np.int32),
        truncated=np.zeros(count, bool),
        vectors={"mean": rng.standard_normal((count, width), np.float32).astype(np.float16)},
    )
    return proteins, vectors


if __name__ == "__main__":
    typer.run(main)
