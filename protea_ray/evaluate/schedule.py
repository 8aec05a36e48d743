"""Cells as Ray tasks of one CPU: few in flight, a lost worker tried again, finished cells committed every ten seconds.

The vectors of an input are read by a task of their own and stay in Ray's object store while cells of that input are
computed; the driver holds references. A cell of residues reads the store itself, and all seeds of an input are one
task.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)

from protea_ray.cluster.progress import Reporter
from protea_ray.cluster.ray_metrics import CELLS, CELLS_LEFT, EVALUATION_LEFT, Recorder
from protea_ray.display import clock_time
from protea_ray.errors import EvaluationError, ProteaRayError
from protea_ray.evaluate import cell_work
from protea_ray.evaluate.cell_work import CellResults, WantedResults
from protea_ray.evaluate.cells import Group
from protea_ray.evaluate.task import RESIDUE
from protea_ray.pipeline.pool import remote
from protea_ray.store.evaluations import append_cells
from protea_ray.store.location import Location

TRIES = 3  # of a cell whose worker died
COMMIT_SECONDS = 10.0
Take = Callable[[Group, Sequence[int], np.ndarray], None]  # outcomes (seeds, tested) of some seeds of a group
_LOST = (WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError, LocalRayletDiedError)


@dataclass
class _Shared:
    """What the cells of a group share: references to the task and to the vectors, made when first used."""

    group: Group
    wanted: WantedResults
    task: Any
    vectors: Any = None
    open: int = 0  # jobs that are not done


@dataclass
class _Job:
    """One Ray task: some seeds of a group. `tries` counts starts."""

    shared: _Shared
    seeds: tuple[int, ...]
    tries: int = 0

    def __str__(self) -> str:
        seeds = ", ".join(map(str, self.seeds))
        return f"{self.shared.group}, seed{'s' if len(self.seeds) > 1 else ''} {seeds}"


def compute(
    location: Location,
    groups: Sequence[Group],
    run: str,
    report: Reporter,
    *,
    again: Sequence[Group] = (),
    take: Take | None = None,
) -> None:
    """Compute every cell of `groups` and append its rows to the store; on any way out, finished cells are committed.

    `take` gets the outcomes of these cells, and of those in `again`, which the store holds: nothing of them is
    committed. Raises what reading and training raise, EvaluationError for a cell whose worker died three times,
    CommitError.
    """
    new, held = WantedResults(outcomes=take is not None), WantedResults(rows=False, outcomes=True)
    jobs = _jobs([*((group, new) for group in groups), *((group, held) for group in again)])
    total = sum(len(group.seeds) for group in (*groups, *again))
    progress = Progress([*groups, *again], report, in_flight())
    report.work("training probes", "cells", total)
    recorder = Recorder(run=run)
    with committed(location) as add:
        for job, found, seconds in _finished(location, jobs, run, report):
            if found.rows is not None:
                add(found.rows)
            if take is not None and found.outcomes is not None:
                take(job.shared.group, job.seeds, found.outcomes)
            progress.advance(job.shared.group.task.name, len(job.seeds), seconds)
            recorder.add(CELLS, len(job.seeds))
            recorder.set(CELLS_LEFT, total - sum(progress.done.values()))
            recorder.set(EVALUATION_LEFT, progress.left())
    report.note(progress.line())


@contextmanager
def committed(location: Location, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[pa.Table], None]]:
    """A function that takes finished rows and appends them in groups; the last of them when the block ends or fails."""
    waiting: list[pa.Table] = []
    oldest = 0.0

    def flush() -> None:
        if waiting:
            append_cells(location, pa.concat_tables(waiting))
            waiting.clear()

    def add(rows: pa.Table) -> None:
        nonlocal oldest
        oldest = oldest if waiting else clock()
        waiting.append(rows)
        if clock() - oldest >= COMMIT_SECONDS:
            flush()

    try:
        yield add
    except BaseException as error:
        try:
            flush()
        except ProteaRayError as second:
            error.add_note(f"Not all finished cells could be committed, so they will be computed again: {second}")
        raise
    flush()


def _finished(
    location: Location, jobs: Iterable[_Job], run: str, report: Reporter
) -> Iterator[tuple[_Job, CellResults, float]]:
    """Jobs with their results and seconds, in any order."""
    queue = deque(jobs)
    limit, running = in_flight(), dict[Any, tuple[_Job, float]]()
    try:
        while queue or running:
            while queue and len(running) < limit:
                job = queue.popleft()
                running[_start(location, job, run)] = (job, time.monotonic())
            done, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
            for reference in done:
                job, started = running.pop(reference)
                found = _results_of(reference, job, report)
                if found is None:
                    queue.appendleft(job)
                    continue
                job.shared.open -= 1
                if not job.shared.open:
                    job.shared.vectors = None  # the last reference: Ray frees them
                yield job, found, time.monotonic() - started
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def in_flight() -> int:
    """How many cells run at once: one for each CPU of the cluster, with one left to read."""
    return max(1, math.floor(ray.cluster_resources().get("CPU", 1)) - 1)


def _jobs(groups: Iterable[tuple[Group, WantedResults]]) -> Iterator[_Job]:
    """All jobs, those of one task after each other, so that few inputs are held at once."""
    tasks: dict[str, Any] = {}
    for group, wanted in groups:
        if group.task.digest not in tasks:
            tasks[group.task.digest] = ray.put(group.task)
        shared = _Shared(group, wanted, tasks[group.task.digest])
        parts = [group.seeds] if group.task.kind == RESIDUE else [(seed,) for seed in group.seeds]
        shared.open = len(parts)
        yield from (_Job(shared, seeds) for seeds in parts)


def _start(location: Location, job: _Job, run: str) -> Any:
    """Submit a job. Ray does not repeat it by itself: of a worker without memory it would do so for ever."""
    group, shared, once = job.shared.group, job.shared, {"num_cpus": 1, "max_retries": 0}
    job.tries += 1
    rest = (shared.task, group.given, job.seeds, group.protocol, run, shared.wanted)
    if group.task.kind == RESIDUE:
        return remote(cell_work.residue_cells, **once).remote(location.uri, *rest)
    if shared.vectors is None:
        shared.vectors = remote(cell_work.read_features, **once).remote(group.given, shared.task, location.uri)
    return remote(cell_work.protein_cells, **once).remote(shared.vectors, *rest)


def _results_of(reference: Any, job: _Job, report: Reporter) -> CellResults | None:
    """What is wanted of a finished job, None where its worker was lost and it is to be tried again."""
    try:
        return ray.get(reference)
    except RayError as error:
        lost = _loss(error)
        if lost is None:
            raise
        if job.tries >= TRIES:
            raise EvaluationError(
                f"{job}: the process that computed it died {job.tries} times ({lost}). What was finished is in the "
                "store. It may need more memory than a worker has: give the machine more, or leave this task or input "
                "out; the same command computes what is missing."
            ) from error
        report.warn(f"{job}: its process died ({lost}); tried again")
        job.shared.vectors = None  # they may have been lost with it
        return None


def _loss(error: BaseException | None) -> str | None:
    """In a few words, the lost worker or object that an error comes from; None for an error of the code itself."""
    while error is not None:
        if isinstance(error, _LOST):
            return "out of memory" if isinstance(error, OutOfMemoryError) else type(error).__name__
        error = getattr(error, "cause", None) or error.__cause__
    return None


@dataclass
class Progress:
    """Counts cells that are done and foretells the time that is left.

    The time of a cell is that of its task's finished cells, or of all where none of that task is finished.
    """

    groups: Sequence[Group]
    report: Reporter
    at_once: int
    clock: Callable[[], float] = time.monotonic
    done: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.wanted: dict[str, int] = {}
        for group in self.groups:
            self.wanted[group.task.name] = self.wanted.get(group.task.name, 0) + len(group.seeds)

    def advance(self, task: str, cells: int, seconds: float) -> None:
        """Count a finished job."""
        self.done[task] = self.done.get(task, 0) + cells
        self.seconds[task] = self.seconds.get(task, 0.0) + seconds
        self.report.worked(cells, self.left())

    def line(self) -> str:
        """Counts, and the time that they took."""
        done, wanted = sum(self.done.values()), sum(self.wanted.values())
        return f"{done:,} of {wanted:,} cells in {clock_time(self.clock() - self.began)}"

    def left(self) -> float:
        """Predicted seconds, with `at_once` jobs running all the time."""
        busy, done = sum(self.seconds.values()), sum(self.done.values())
        if not done:
            return 0.0
        left = sum(
            (wanted - self.done.get(task, 0)) * (self.seconds[task] / self.done[task] if task in self.done
                                                 else busy / done)
            for task, wanted in self.wanted.items()
        )  # fmt: skip
        return left / self.at_once
