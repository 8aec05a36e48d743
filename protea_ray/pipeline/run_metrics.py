"""What an embedding run records as Ray metrics: the driver what is counted and committed, each actor what it computed.

The driver's counters end at the run's summary. An actor's are of its own process: a unit that was repeated counts there
each time, and of an actor that was killed the last ten seconds are missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from protea_ray.cluster import ray_metrics as m
from protea_ray.cluster.meter import Meter
from protea_ray.cluster.ray_metrics import Recorder
from protea_ray.pictures.store_data import StageTime
from protea_ray.pipeline.run_record import resident_peak
from protea_ray.plan.delta import Counts


class RunMetrics:
    """The driver's part; `began` is when the command was given, in seconds since the epoch."""

    def __init__(self, recorder: Recorder, began: float) -> None:
        self._recorder, self._began = recorder, began
        self._units = 0
        self._meter = Meter(0, 0, 0.0, time.monotonic)

    def planned(self, counts: Mapping[str, Counts], ingest_rejects: int) -> None:
        """Count the records that need no unit, by space; `ingest_rejects`: those that are no proteins."""
        for space, plan in counts.items():
            rejected = ingest_rejects + plan.rejected
            for outcome, records in (
                ("duplicate", plan.duplicate), ("already_present", plan.already_present), ("rejected", rejected),
            ):  # fmt: skip
                self._recorder.add(m.RECORDS, records, space=space, outcome=outcome)

    @contextmanager
    def embedding(self, units: int, meter: Meter) -> Iterator[None]:
        """While the block runs, the run is under way; `meter` is its own: a reporter may keep none."""
        self._units, self._meter = units, meter
        self._recorder.set(m.RUNNING, 1)
        self._recorder.set(m.PREDICTED, meter.seconds)
        self._progress()
        try:
            yield
        finally:
            self._recorder.set(m.RUNNING, 0)

    def finished(self, result: Mapping[str, Any], rejects: int) -> None:
        """Count a unit that is back; `rejects`: its proteins that miss a space."""
        self._units -= 1
        self._meter.advance(result["proteins"], result["residues"], result["predicted"], result["seconds"], rejects)
        self._recorder.add(m.UNITS, 1)
        self._recorder.add(m.PROTEINS, result["proteins"])
        self._recorder.add(m.RESIDUES, result["residues"])
        for reject in result["rejects"]:
            self._recorder.add(m.REJECTS, 1, space=reject["space"], reason=str(reject["reason"]))
            self._recorder.add(m.RECORDS, 1, space=reject["space"], outcome="rejected")
        self._progress()

    def committed(self, space: str, rows: int, seconds: float) -> None:
        """Count a commit of finished units: proteins of one space are stored by it."""
        self._recorder.add(m.RECORDS, rows, space=space, outcome="stored")
        self._recorder.add(m.COMMITS, 1, space=space)
        self._recorder.add(m.COMMIT_SECONDS, seconds, space=space)
        self._recorder.observe(m.COMMIT_TIMES, seconds, space=space)

    def _progress(self) -> None:
        meter = self._meter
        for metric, value in (
            (m.FRACTION, meter.fraction), (m.SECONDS_LEFT, meter.seconds_left), (m.UNITS_LEFT, self._units),
            (m.PROTEINS_LEFT, meter.proteins - meter.done_proteins), (m.ELAPSED, time.time() - self._began),
            (m.DRIVER_MEMORY, resident_peak()),
        ):  # fmt: skip
            self._recorder.set(metric, value)


def record_end(recorder: Recorder, seconds: float, stages: Sequence[StageTime]) -> None:
    """What a run took from its command to its end, in seconds, and each of its stages."""
    recorder.set(m.ELAPSED, seconds)
    for stage in stages:
        recorder.set(m.STAGE, stage.seconds, stage=stage.name)


def record_ingested(recorder: Recorder, records: int, size: int, reasons: Mapping[str, int]) -> None:
    """Count sources that were committed: their records, bytes, and rejects by reason."""
    recorder.add(m.INGESTED, records)
    recorder.add(m.INGESTED_BYTES, size)
    for reason, rejects in reasons.items():
        recorder.add(m.INGEST_REJECTS, rejects, reason=reason)


def record_unit(recorder: Recorder, result: Mapping[str, Any]) -> None:
    """Count a unit in the actor that computed it."""
    for metric, value in (
        (m.ACTOR_RESIDUES, result["residues"]), (m.TOKENS, result["tokens"]), (m.PACKS, result["packs"]),
        (m.FORWARD, result["seconds"]), (m.WAITING, result["waited"]), (m.OUT_OF_MEMORY, result["out_of_memory"]),
        (m.REPEATED, int(result["attempt"] > 1)),
    ):  # fmt: skip
        recorder.add(metric, value)
    recorder.observe(m.UNIT_SECONDS, result["seconds"])
    for metric, value in (
        (m.BUDGET, result["budget"]), (m.LOAD, result["load_seconds"]), (m.ACTOR_MEMORY, result["peak_memory"]),
    ):  # fmt: skip
        recorder.set(metric, value)
    if result["peak_gpu_memory"]:  # a CPU actor has none to tell of
        recorder.set(m.GPU_MEMORY, result["peak_gpu_memory"])
