"""The embedding loop: a Ray Data actor pool works, the driver commits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy

from protea_ray.config.run import RunOptions
from protea_ray.run.attempts import start_attempt_log, stop_attempt_log
from protea_ray.run.cluster import Pool
from protea_ray.run.progress import Reporter
from protea_ray.run.units import Units, unit_dataset
from protea_ray.run.worker import EmbedUnits, EncoderSpec, Target
from protea_ray.sequences.schema import REJECTS
from protea_ray.store.commit import GroupCommitter, append_table
from protea_ray.store.location import Location

CALLS_PER_ACTOR = 2  # one computes while the other reads its input or writes its fragment
QUEUED_PER_ACTOR = 3


@dataclass
class Tally:
    """What the units of this run reported, by space."""

    stored: dict[str, int]
    rejected: dict[str, int]
    residues: int = 0
    proteins: int = 0
    began: float = math.inf  # seconds since the epoch: the first forward pass
    reasons: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, spaces: Sequence[str]) -> Tally:
        """All zero."""
        return cls(dict.fromkeys(spaces, 0), dict.fromkeys(spaces, 0))

    def add(self, result: dict[str, Any]) -> None:
        """Count one unit's result."""
        self.residues += result["residues"]
        self.proteins += result["proteins"]
        self.began = min(self.began, result["began"])
        for space, written in result["spaces"].items():
            self.stored[space] += written["stored"]
        for reject in result["rejects"]:
            self.rejected[reject["space"]] += 1
            self.reasons[reject["reason"]] = self.reasons.get(reject["reason"], 0) + 1


def embed_units(
    location: Location,
    units: Units,
    targets: Sequence[Target],
    spec: EncoderSpec,
    pool: Pool,
    options: RunOptions,
    run: str,
    guard: Callable[[], None],
    report: Reporter,
) -> Tally:
    """Embed every unit once and commit it; on any way out, finished units are committed first."""
    tally = Tally.of([t.space for t in targets])
    committers = {
        t.space: GroupCommitter(t.uri, max_units=options.commit_units, max_seconds=options.commit_seconds, guard=guard)
        for t in targets
    }
    log = start_attempt_log(run)
    try:
        for row in _results(location, units, targets, spec, pool, run, log).iter_rows():
            result = json.loads(row["result"])
            _take(result, row["unit"], location, committers, guard)
            tally.add(result)
            report.advance(result["proteins"], result["residues"], result["predicted"], len(result["rejects"]))
    finally:
        for committer in committers.values():
            committer.flush()
        stop_attempt_log(log)
    return tally


def _results(
    location: Location,
    units: Units,
    targets: Sequence[Target],
    spec: EncoderSpec,
    pool: Pool,
    run: str,
    log: str,
) -> ray.data.Dataset:
    """Units through the actor pool: one row of JSON back per unit, in any order."""
    return unit_dataset(location, units.tables).map_batches(
        EmbedUnits,
        fn_constructor_args=(spec, tuple(targets), run, log),
        batch_format="pyarrow",
        batch_size=1,
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus or None,
        compute=ActorPoolStrategy(
            min_size=pool.min_actors,
            max_size=pool.actors,
            max_tasks_in_flight_per_actor=QUEUED_PER_ACTOR,
            max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
            enable_true_multi_threading=True,
        ),
    )


def _take(
    result: dict[str, Any],
    unit: str,
    location: Location,
    committers: dict[str, GroupCommitter],
    guard: Callable[[], None],
) -> None:
    """Rejects first: a crash between the two leaves keys that are refused, never keys that are refused twice."""
    if result["rejects"]:
        rows = [{**r, "key": bytes.fromhex(r["key"])} for r in result["rejects"]]
        append_table(location.table("rejects"), pa.Table.from_pylist(rows, schema=REJECTS), guard=guard)
    for space, written in result["spaces"].items():
        if written["fragments"]:
            committers[space].add(unit, written["fragments"], written["stored"])
