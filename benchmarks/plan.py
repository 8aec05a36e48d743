"""`python -m benchmarks.plan --records 1e6,1e7`: seconds and memory of finding what is missing and cutting it.

A store is made of rows with random keys, of which a tenth came before and `--held` are in a space; then the plan of a
run over all of them is made, and cut to its last unit. Memory is that of each Ray worker and of the driver, without
what they share (the object store's pages), sampled; its growth and that of the time are fitted as exponents.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import lance
import numpy as np
import pyarrow as pa
import ray
import typer

from protea_ray.cluster.connect import connect
from protea_ray.config.run import RunOptions
from protea_ray.pipeline.missing import Work, find_work
from protea_ray.pipeline.pool import remote
from protea_ray.pipeline.units import UnitPolicy, Units, UnitSource, plan_units
from protea_ray.plan.cost import Cost
from protea_ray.plan.units import Sizes
from protea_ray.sequences.records import KEY, PROTEINS_SCHEMA
from protea_ray.store.location import Location, open_location

ROWS = 1 << 20  # of a fragment
SPACE = "held-00000001"
EVERY = 0.1  # seconds between two looks at the memory
AGAIN = 10  # one in so many records has the key of an earlier one


@dataclass(frozen=True)
class Measured:
    """One size. Seconds: finding what is missing, foretelling its cost, cutting all; bytes: at most, of one process."""

    records: int
    wanted: int
    units: int
    find: float
    foretell: float
    cut: float
    worker: int
    driver: int


def keys_of(first: int, rows: int) -> np.ndarray:
    """(rows, 16) uint8: a hash of the record's number; of one in ten, of the number of an earlier one."""
    number = np.arange(first, first + rows, dtype=np.uint64)
    again = number % AGAIN == AGAIN - 1
    number = np.where(again, number // (2 * AGAIN) * AGAIN, number)
    halves = [_mixed(number * np.uint64(2) + np.uint64(half)) for half in (0, 1)]
    return np.stack(halves, axis=1).astype(">u8").view(np.uint8).reshape(rows, 16)


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def make_store(location: Location, records: int, held: float) -> None:
    """Rows of proteins with letters that no plan reads, and a space that holds the first share of their keys."""

    def proteins() -> Iterator[pa.RecordBatch]:
        rng = np.random.default_rng(0)
        for first in range(0, records, ROWS):
            rows = min(ROWS, records - first)
            lengths = np.clip(rng.lognormal(5.7, 0.6, rows), 20, 2000).astype(np.int32)
            same, line = pa.array(["M"] * rows), pa.array(np.zeros(rows, np.int64))
            fields = [same, _keys(first, rows), pa.array(lengths), same, same, same, line]
            yield pa.RecordBatch.from_arrays(fields, schema=PROTEINS_SCHEMA)

    reader = pa.RecordBatchReader.from_batches(PROTEINS_SCHEMA, proteins())
    lance.write_dataset(reader, location.table("proteins"), max_rows_per_file=ROWS)
    schema = pa.schema([("key", KEY), ("chunk_start", pa.int32())])

    def present() -> Iterator[pa.RecordBatch]:
        for first in range(0, int(records * held), ROWS):
            rows = min(ROWS, int(records * held) - first)
            columns = [_keys(first, rows), pa.array(np.zeros(rows, np.int32))]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    reader = pa.RecordBatchReader.from_batches(schema, present())
    lance.write_dataset(reader, location.table(SPACE), max_rows_per_file=ROWS)


def _keys(first: int, rows: int) -> pa.Array:
    return pa.Array.from_buffers(KEY, rows, [None, pa.py_buffer(keys_of(first, rows).tobytes())])


class Memory(threading.Thread):
    """The most anonymous memory that a Ray worker of this session, and this process, had."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.worker = self.driver = 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until ended, and once more then: a short plan is over before the second look."""
        while not self._ended.wait(EVERY):
            self._look()
        self._look()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()

    def _look(self) -> None:
        self.driver = max(self.driver, _anonymous(os.getpid()))
        for place in Path("/proc").iterdir():
            if place.name.isdigit() and _is_worker(place):
                self.worker = max(self.worker, _anonymous(int(place.name)))


def _is_worker(place: Path) -> bool:
    """Whether a process is a worker of Ray, at a task or between two; Ray's own agents are none."""
    try:
        name = (place / "cmdline").read_bytes()
    except OSError:
        return False
    return name.startswith((b"ray::_", b"ray::IDLE"))


def _anonymous(process: int) -> int:
    """Bytes resident of a process that no file and no other process shares; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


@contextmanager
def watched() -> Iterator[Memory]:
    """Memory within the block."""
    memory = Memory()
    memory.start()
    try:
        yield memory
    finally:
        memory.end()


def measure(location: Location, records: int, options: RunOptions) -> Measured:
    """Plan a run over all of the store's proteins, and cut it."""
    with watched() as memory:
        began = time.perf_counter()
        work = find_work(location, None, [SPACE], retry_rejects=False, memory=options.task_memory)
        found = time.perf_counter()
        units = plan_units(work, UnitPolicy("run", Cost(1e-5, 1e-8), 4096, Sizes(20.0, 64), widens=True))
        foretold = time.perf_counter()
        cut = _cut_all(units, work)
        ended = time.perf_counter()
    return Measured(
        records, work.proteins, cut, found - began, foretold - found, ended - foretold, memory.worker, memory.driver
    )


def _cut_all(units: Units, work: Work) -> int:
    """Units of all slices, each cut in a task; raises SystemExit unless every wanted protein is in one."""
    tasks = [remote(_count, num_cpus=1).remote(task) for task in UnitSource(units).get_read_tasks(1)]
    found: list[tuple[int, int]] = ray.get(tasks)
    if sum(proteins for _, proteins in found) != work.proteins:
        raise SystemExit("not every wanted protein is in a unit")
    return sum(count for count, _ in found)


def _count(task: Any) -> tuple[int, int]:
    blocks = [(len(table), len(table["rows"].combine_chunks().flatten())) for table in task()]
    return sum(units for units, _ in blocks), sum(proteins for _, proteins in blocks)


def exponent(sizes: list[int], values: list[float]) -> float:
    """The slope of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) if len(sizes) > 1 else math.nan


def main(
    records: Annotated[str, typer.Option("--records", help="records of each store, with commas")] = "1e6,3e6,1e7",
    held: Annotated[float, typer.Option("--held", min=0, max=1, help="share of them that the space holds")] = 0.5,
    memory: Annotated[int, typer.Option("--task-memory", help="bytes of one task")] = 1 << 30,
    out: Annotated[Path | None, typer.Option("--json", help="write the figures there too")] = None,
) -> None:
    """Measure, and print a table."""
    options = RunOptions(task_memory=memory)
    connect(options)
    found: list[Measured] = []
    for size in [int(float(word)) for word in records.split(",")]:
        with tempfile.TemporaryDirectory(prefix="plan-") as folder:
            location = open_location(Path(folder) / "store")
            made = ray.remote(num_cpus=1, max_calls=1)(make_store)  # in a process that ends, so that none is measured
            ray.get(made.remote(location, size, held))
            found.append(measure(location, size, options))
            typer.echo(json.dumps(asdict(found[-1])))
    sizes = [one.records for one in found]
    slopes = {
        "time": exponent(sizes, [one.find + one.foretell + one.cut for one in found]),
        "memory of a worker": exponent(sizes, [float(one.worker) for one in found]),
        "memory of the driver": exponent(sizes, [float(one.driver) for one in found]),
    }
    typer.echo(json.dumps({name: round(slope, 3) for name, slope in slopes.items()}))
    if out:
        out.write_text(json.dumps({"sizes": [asdict(one) for one in found], "exponents": slopes}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
