"""The figures of a run as Ray metrics, for Prometheus and Grafana: what is recorded, and how.

Ray's agent on each node exports what the processes of that node record, every ten seconds and when a process ends. Of
a process that is killed the last ten seconds are lost. Counters of processes that have ended stay as long as the agent
runs; gauges leave 20 seconds after the process.

Tags are few and bounded: never an id, a path or a message. docs/cluster.md has the table (`tools.metrics_page`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

Kind = Literal["counter", "gauge", "histogram"]
By = Literal["driver", "actor"]
GROUPS = ("progress", "throughput", "packing", "memory", "errors", "training")  # rows of the dashboard
_ALONE = ("run",)
_RUN = (*_ALONE, "family")  # of what an embedding run records
_SPACE = (*_RUN, "space")


@dataclass(frozen=True)
class Metric:
    """One figure. `group` is its row of the dashboard, `by` the process that records it.

    `boundaries` are those of a histogram's buckets, in `unit`. Ray's sum of a histogram takes every value for the
    middle of its bucket, so what must add up is a counter.
    """

    kind: Kind
    group: str
    name: str
    unit: str
    help: str
    tags: tuple[str, ...] = _RUN
    by: By = "driver"
    boundaries: tuple[float, ...] = ()

    @property
    def exported(self) -> str:
        """The name in Prometheus: Ray puts `ray_` before it, and `_total` after that of a counter."""
        return f"ray_{self.name}{'_total' if self.kind == 'counter' else ''}"

    @property
    def description(self) -> str:
        """The help text with its unit, as Prometheus shows it."""
        return f"{self.help} (unit: {self.unit})"


_counter, _gauge = partial(Metric, "counter"), partial(Metric, "gauge")
_times = partial(Metric, "histogram", boundaries=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0))

# fmt: off
RUNNING = _gauge("progress", "protea_running", "0 or 1", "1 while a run embeds, 0 when it has ended")
FRACTION = _gauge("progress", "protea_done_ratio", "0 to 1", "share of the predicted cost of the units that is done")
SECONDS_LEFT = _gauge("progress", "protea_left_seconds", "seconds", "time left of embedding, as the progress line says")
ELAPSED = _gauge("progress", "protea_elapsed_seconds", "seconds", "since the command was given, at the last unit")
PREDICTED = _gauge("progress", "protea_predicted_seconds", "seconds", "predicted compute of all units, over all actors")
UNITS = _counter("progress", "protea_units", "units", "units that are finished")
UNITS_LEFT = _gauge("progress", "protea_left_units", "units", "units that are not finished")
PROTEINS = _counter("progress", "protea_proteins", "proteins", "proteins of finished units")
PROTEINS_LEFT = _gauge("progress", "protea_left_proteins", "proteins", "proteins of units that are not finished")
RECORDS = _counter("progress", "protea_records", "records",
                   "records by outcome: stored (committed), duplicate, rejected, already_present", (*_SPACE, "outcome"))
STAGE = _gauge("progress", "protea_stage_seconds", "seconds", "what each stage of a run took, known at its end",
               (*_RUN, "stage"))
INGESTED = _counter("progress", "protea_ingested_records", "records", "records read into the store", _ALONE)
INGESTED_BYTES = _counter("progress", "protea_ingested_bytes", "bytes",
                          "size of the sources read into the store, compressed as they are", _ALONE)
CELLS = _counter("progress", "protea_evaluation_cells", "cells", "cells of an evaluation that are done", _ALONE)
CELLS_LEFT = _gauge("progress", "protea_left_evaluation_cells", "cells", "cells that are not done", _ALONE)
EVALUATION_LEFT = _gauge("progress", "protea_left_evaluation_seconds", "seconds", "time left of an evaluation", _ALONE)

RESIDUES = _counter("throughput", "protea_residues", "residues", "residues that went through the model and are stored")
ACTOR_RESIDUES = _counter("throughput", "protea_actor_residues", "residues",
                          "residues of units that an actor finished; a repeated unit counts each time", by="actor")
FORWARD = _counter("throughput", "protea_forward_seconds", "seconds", "time in forward passes", by="actor")
WAITING = _counter("throughput", "protea_waiting_seconds", "seconds",
                   "time before units in which an actor had nothing to compute", by="actor")
UNIT_SECONDS = _times("throughput", "protea_unit_forward_seconds", "seconds", "forward passes of a unit", by="actor")
LOAD = _gauge("throughput", "protea_load_seconds", "seconds", "what loading the model took in an actor", by="actor")
COMMITS = _counter("throughput", "protea_commits", "commits", "commits of finished units", _SPACE)
COMMIT_SECONDS = _counter("throughput", "protea_commit_seconds", "seconds", "time in commits of units", _SPACE)
COMMIT_TIMES = _times("throughput", "protea_commit_duration_seconds", "seconds", "a commit of finished units", _SPACE)

TOKENS = _counter("packing", "protea_tokens", "tokens",
                  "tokens of packs: residues, special tokens; what windows share counts in each", by="actor")
PACKS = _counter("packing", "protea_packs", "packs", "packs that went through the model", by="actor")
BUDGET = _gauge("packing", "protea_pack_budget_tokens", "tokens", "the token budget of a pack, now", by="actor")

ACTOR_MEMORY = _gauge("memory", "protea_actor_peak_memory_bytes", "bytes", "the most an actor had resident", by="actor")
GPU_MEMORY = _gauge("memory", "protea_actor_peak_gpu_memory_bytes", "bytes",
                    "the most an actor allocated on its GPU; nothing without one", by="actor")
DRIVER_MEMORY = _gauge("memory", "protea_driver_peak_memory_bytes", "bytes", "the most the driver had resident")

REJECTS = _counter("errors", "protea_rejects", "rejects", "proteins that a run tried and rejected, by reason",
                   (*_SPACE, "reason"))
INGEST_REJECTS = _counter("errors", "protea_ingest_rejects", "rejects", "records that are no proteins, by reason",
                          (*_ALONE, "reason"))
REPEATED = _counter("errors", "protea_repeated_units", "units", "finished units that an earlier attempt had left",
                    by="actor")
OUT_OF_MEMORY = _counter("errors", "protea_out_of_memory_packs", "packs", "packs that ran out of memory", by="actor")

# of a training on Ray's workers: what rank 0 reports to the driver each ten seconds
STEP = _gauge("training", "protea_training_step", "steps", "optimiser steps done, resumed ones too", _ALONE)
STEPS = _gauge("training", "protea_training_steps", "steps", "optimiser steps of the plan", _ALONE)
TRAINED = _gauge("training", "protea_training_tokens", "tokens", "tokens trained on, resumed ones too", _ALONE)
LOSS = _gauge("training", "protea_training_loss", "nats", "loss of the step that was reported last", _ALONE)
VALIDATION_LOSS = _gauge("training", "protea_training_validation_loss", "nats", "loss of the validation side", _ALONE)
GRADIENT = _gauge("training", "protea_training_gradient_norm", "none", "norm of the gradient, before clipping", _ALONE)
STEP_SECONDS = _gauge("training", "protea_training_step_seconds", "seconds", "mean time of a step since the report "
                      "before", _ALONE)
TRAINING_LEFT = _gauge("training", "protea_left_training_seconds", "seconds", "time left of a training", _ALONE)
# fmt: on

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


def addresses() -> list[str]:
    """HOST:PORT of every live node at which its agent serves metrics under /metrics; needs a Ray cluster."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"] and node.get("MetricsExportPort", 0) > 0]
    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in alive]


class Recorder:
    """Records figures of this process under fixed tags; does nothing where this process has no Ray cluster.

    Tags that a metric does not have are left out, so that one recorder serves all figures of a run.
    """

    def __init__(self, **tags: str) -> None:
        self._tags = tags

    def add(self, metric: Metric, value: float, **tags: str) -> None:
        """Add to a counter; Ray takes no zero, so nothing is added then."""
        if value > 0 and _runs():
            _made(metric).inc(value, self._of(metric, tags))

    def set(self, metric: Metric, value: float, **tags: str) -> None:
        """Set a gauge."""
        if _runs():
            _made(metric).set(value, self._of(metric, tags))

    def observe(self, metric: Metric, value: float, **tags: str) -> None:
        """Count a value in a histogram."""
        if _runs():
            _made(metric).observe(value, self._of(metric, tags))

    def _of(self, metric: Metric, tags: Mapping[str, str]) -> dict[str, str]:
        known = {**self._tags, **tags}
        return {name: known[name] for name in metric.tags}


def _runs() -> bool:
    """Whether this process has a Ray cluster: what is recorded before is lost without a word."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@cache
def _made(metric: Metric) -> Any:
    """Ray's own object of a metric, one in a process; it outlives a cluster and works in the next one."""
    from ray.util import metrics

    if metric.kind == "histogram":
        return metrics.Histogram(metric.name, metric.description, list(metric.boundaries), metric.tags)
    made = metrics.Counter if metric.kind == "counter" else metrics.Gauge
    return made(metric.name, metric.description, metric.tags)
