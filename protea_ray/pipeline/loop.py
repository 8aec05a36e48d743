"""The embedding loop: a Ray Data actor pool computes units, the driver commits what they wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy

from protea_ray.cluster.progress import Reporter
from protea_ray.config.run import RunOptions
from protea_ray.errors import ProteaRayError
from protea_ray.pipeline.attempts import AttemptLog
from protea_ray.pipeline.failures import own_errors
from protea_ray.pipeline.pool import Pool
from protea_ray.pipeline.run_metrics import RunMetrics
from protea_ray.pipeline.timeline import Timeline
from protea_ray.pipeline.units import Units, unit_dataset
from protea_ray.pipeline.worker import EmbedUnits, EncoderSpec, Target
from protea_ray.sequences.records import REJECTS_SCHEMA
from protea_ray.store.commit import GroupCommitter, Writer
from protea_ray.store.location import Location

CALLS_PER_ACTOR = 2  # one computes while the other reads its input or writes its fragment
QUEUED_PER_ACTOR = 3


@dataclass
class Tally:
    """Sums of what the units of this run reported, by space."""

    stored: dict[str, int]
    rejected: dict[str, int]
    residues: int = 0
    proteins: int = 0
    began: float = math.inf  # seconds since the epoch: the first forward pass
    first_vector: float = math.inf  # seconds since the epoch: the end of the first unit's forward passes
    budget: float = math.inf  # the smallest token budget that an actor was left with
    load_seconds: float = 0.0  # the longest that an actor took to load its encoder
    reasons: dict[str, int] = field(default_factory=dict)
    packs: int = 0
    tokens: int = 0  # of all packs: special tokens, and residues that two windows share, count each time
    peak_memory: int = 0  # bytes resident in the largest actor
    peak_gpu_memory: int = 0  # bytes allocated on a GPU, 0 without one
    timeline: Timeline = field(default_factory=Timeline)

    @classmethod
    def of(cls, spaces: Sequence[str]) -> Tally:
        """A tally of these spaces with every count at zero."""
        return cls(dict.fromkeys(spaces, 0), dict.fromkeys(spaces, 0))

    def add(self, result: dict[str, Any]) -> None:
        """Count one unit's result."""
        self.residues += result["residues"]
        self.proteins += result["proteins"]
        self.began = min(self.began, result["began"])
        self.first_vector = min(self.first_vector, result["began"] + result["seconds"])
        self.budget = min(self.budget, result["budget"])
        self.load_seconds = max(self.load_seconds, result["load_seconds"])
        self.packs += result["packs"]
        self.tokens += result["tokens"]
        self.peak_memory = max(self.peak_memory, result["peak_memory"])
        self.peak_gpu_memory = max(self.peak_gpu_memory, result["peak_gpu_memory"])
        self.timeline.add(result["began"], result["seconds"], result["residues"])
        for space, written in result["spaces"].items():
            self.stored[space] += written["stored"]
        for reject in result["rejects"]:
            self.rejected[reject["space"]] += 1
            self.reasons[reject["reason"]] = self.reasons.get(reject["reason"], 0) + 1


@dataclass(frozen=True)
class Job:
    """Where the units of one run go and who works on them; `writer` commits them, `metrics` records them."""

    location: Location
    targets: tuple[Target, ...]
    encoder: EncoderSpec
    pool: Pool
    options: RunOptions
    run: str
    writer: Writer
    metrics: RunMetrics

    def committers(self) -> dict[str, GroupCommitter]:
        """One committer for each space."""
        limits = {"max_units": self.options.commit_units, "max_seconds": self.options.commit_seconds}
        return {
            t.space: GroupCommitter(self.writer, t.uri, **limits, committed=partial(self.metrics.committed, t.space))
            for t in self.targets
        }


def embed_units(job: Job, units: Units, report: Reporter, tally: Tally) -> None:
    """Embed every unit once, commit it and count it in `tally`; on any way out, finished units are committed first."""
    committers = job.committers()
    try:
        with _flushed(committers.values()), own_errors():
            for row in _results(job, units).iter_rows():
                result = json.loads(row["result"])
                _take(result, row["unit"], job, committers)
                tally.add(result)
                rejects = len({reject["key"] for reject in result["rejects"]})  # one protein may miss several spaces
                job.metrics.finished(result, rejects)
                report.advance(result["proteins"], result["residues"], result["predicted"], result["seconds"], rejects)
            report.phase("committing the last units")
    finally:
        AttemptLog(job.run).forget()


@contextmanager
def _flushed(committers: Iterable[GroupCommitter]) -> Iterator[None]:
    """Commit finished units when the block ends or fails; an error of that commit does not hide the first error."""
    try:
        yield
    except BaseException as error:
        for committer in committers:
            try:
                committer.flush()
            except ProteaRayError as second:
                error.add_note(f"Not all finished work could be committed, so it will be done again: {second}")
        raise
    for committer in committers:
        committer.flush()


def _results(job: Job, units: Units) -> ray.data.Dataset:
    """Send the units through the actor pool; one row of JSON comes back for each, in any order."""
    return unit_dataset(job.location, units).map_batches(
        EmbedUnits,
        fn_constructor_args=(job.encoder, job.targets, job.run),
        batch_format="pyarrow",
        batch_size=1,
        num_cpus=job.pool.num_cpus,
        num_gpus=job.pool.num_gpus or None,
        compute=ActorPoolStrategy(
            min_size=job.pool.min_actors,
            max_size=job.pool.actors,
            max_tasks_in_flight_per_actor=QUEUED_PER_ACTOR,
            max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
            enable_true_multi_threading=True,
        ),
    )


def _take(result: dict[str, Any], unit: str, job: Job, committers: dict[str, GroupCommitter]) -> None:
    """Append the unit's rejects, then queue its fragments for the next commit.

    A crash in between loses vectors, which the next run embeds again. The other order would lose the rejects, and bad
    proteins would be tried again.
    """
    if result["rejects"]:
        rows = [{**r, "key": bytes.fromhex(r["key"])} for r in result["rejects"]]
        job.writer.append_table(job.location.table("rejects"), pa.Table.from_pylist(rows, schema=REJECTS_SCHEMA))
    for space, written in result["spaces"].items():
        if written["fragments"]:
            committers[space].add(unit, written["fragments"], written["stored"])
