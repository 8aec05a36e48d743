"""What a run records as metrics equals its summary; what Ray's agent serves equals both."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from protea_ray.cluster import ray_metrics as m
from protea_ray.cluster.meter import Meter
from protea_ray.cluster.progress import LineReporter
from protea_ray.cluster.ray_metrics import Metric, Recorder, addresses
from protea_ray.config.run import run_config
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.embed import embed
from protea_ray.pipeline.run_metrics import RunMetrics, record_unit
from protea_ray.pipeline.run_record import RECORD
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.sequences.synth import write_fasta
from protea_ray.store.location import open_location
from protea_ray.store.runs import last_run
from tests.recorded_metrics import RecordedMetrics
from tests.toy import ToySpec

EXPORTED_WITHIN = 60.0  # seconds; Ray exports each ten
SMALL_UNITS = {"unit_seconds": 0.05, "window_proteins": 64, "commit_units": 4}


def hostile(path: Path) -> Path:
    """Proteins of which some come twice, some are none, and whose ids are not to be trusted."""
    write_fasta(path, 60, seed=3)
    first = path.read_text().split(">")[1]
    path.write_text(path.read_text() + f'>twice|<b>"\n{first.split(chr(10), 1)[1]}>none\nM-K-\n>empty\n\n')
    return path


def run(inputs: list[Path], store: Path, model: Path, spec: Callable[..., EncoderSpec], **recipe: Any) -> Summary:
    fields = {"model": str(model), "store_dtype": "float32", "run": SMALL_UNITS, **recipe}
    return embed([str(path) for path in inputs], str(store), run_config(fields), LineReporter(), spec)


def test_the_counters_of_a_run_are_its_summary(
    esm2: Path, tmp_path: Path, cluster: None, recorded: RecordedMetrics
) -> None:
    proteins = hostile(tmp_path / "p.fasta")
    summary = run([proteins], tmp_path / "store", esm2, ToySpec)

    tags, space = {"run": summary.run}, summary.spaces[0]
    for outcome in ("stored", "duplicate", "rejected", "already_present"):
        assert recorded.total(m.RECORDS, **tags, space=space.space, outcome=outcome) == getattr(space, outcome), outcome
    assert space.duplicate >= 1 and space.rejected == 2
    assert recorded.total(m.RECORDS, **tags) == summary.records == recorded.total(m.INGESTED, **tags)
    assert recorded.total(m.INGESTED_BYTES, **tags) == proteins.stat().st_size
    assert {r.reason: r.rejects for r in summary.reasons} == recorded.by(m.INGEST_REJECTS, "reason")
    assert recorded.total(m.RESIDUES, **tags) == summary.residues > 0
    assert recorded.total(m.PROTEINS, **tags) == space.stored
    assert recorded.last(m.UNITS_LEFT) == recorded.last(m.PROTEINS_LEFT) == recorded.last(m.RUNNING) == 0
    assert recorded.last(m.FRACTION) == pytest.approx(1.0) and recorded.last(m.SECONDS_LEFT) == pytest.approx(
        0, abs=1e-6
    )
    assert recorded.last(m.ELAPSED) == summary.seconds
    assert recorded.by(m.STAGE, "stage") == {stage.name: stage.seconds for stage in summary.stages}
    assert {of["family"] for _, _, of in recorded.values if "family" in of} == {"esm2"}


def test_a_run_with_nothing_to_do_counts_what_was_there(
    esm2: Path, tmp_path: Path, cluster: None, recorded: RecordedMetrics
) -> None:
    proteins = hostile(tmp_path / "p.fasta")
    first = run([proteins], tmp_path / "store", esm2, ToySpec)
    again = run([proteins], tmp_path / "store", esm2, ToySpec)

    assert recorded.total(m.RECORDS, run=again.run) == again.records
    assert recorded.total(m.RECORDS, run=again.run, outcome="already_present") == first.spaces[0].stored + 1
    assert recorded.total(m.INGESTED, run=again.run) == 0  # known byte for byte
    assert again.run not in recorded.by(m.RUNNING, "run")


def a_unit(**changed: Any) -> dict[str, Any]:
    """What an actor reports of a unit."""
    return {
        "residues": 90, "tokens": 100, "packs": 2, "seconds": 0.5, "waited": 0.25, "out_of_memory": 1, "attempt": 2,
        "budget": 64, "load_seconds": 3.0, "peak_memory": 1000, "peak_gpu_memory": 0, "proteins": 3, "predicted": 4.0,
        "rejects": [], **changed,
    }  # fmt: skip


def test_an_actor_records_what_it_computed(recorded: RecordedMetrics) -> None:
    recorder = Recorder(run="r", family="esm2")
    record_unit(recorder, a_unit())
    record_unit(recorder, a_unit(attempt=1, out_of_memory=0))
    sums = {metric: recorded.total(metric) for metric in (m.ACTOR_RESIDUES, m.TOKENS, m.PACKS, m.FORWARD, m.WAITING)}
    assert list(sums.values()) == [180, 200, 4, 1.0, 0.5]
    assert (recorded.total(m.REPEATED), recorded.total(m.OUT_OF_MEMORY)) == (1, 1)
    assert (recorded.last(m.BUDGET), recorded.last(m.LOAD), recorded.last(m.ACTOR_MEMORY)) == (64, 3.0, 1000)
    assert not recorded.by(m.GPU_MEMORY, "run")  # a CPU has none: that is not 0
    record_unit(recorder, a_unit(peak_gpu_memory=7))
    assert recorded.last(m.GPU_MEMORY) == 7


def test_the_time_left_is_that_of_the_progress_line(recorded: RecordedMetrics) -> None:
    now = [0.0]
    metrics = RunMetrics(Recorder(run="r", family="esm2"), 0.0)
    line = Meter(9, 900, 12.0, lambda: now[0], foretold=30.0)
    with metrics.embedding(3, Meter(9, 900, 12.0, lambda: now[0], foretold=30.0)):
        assert (recorded.last(m.SECONDS_LEFT), recorded.last(m.RUNNING)) == (pytest.approx(30.0), 1)
        now[0] = 10.0
        unit = a_unit(rejects=[{"space": "s", "reason": "too_long"}, {"space": "t", "reason": "too_long"}])
        metrics.finished(unit, 1)
        line.advance(3, 90, 4.0, 0.5, 1)
        assert recorded.last(m.SECONDS_LEFT) == pytest.approx(1.0)  # 0.5 s for a third
        assert f"{line.seconds_left:.0f}" == "1" and "0:01 left" in line.line()
        assert (recorded.last(m.UNITS_LEFT), recorded.last(m.PROTEINS_LEFT)) == (2, 6)
    assert recorded.total(m.REJECTS, space="s", reason="too_long") == recorded.total(m.RECORDS, space="t") == 1
    assert recorded.last(m.RUNNING) == 0


def test_a_run_that_fails_no_longer_runs(recorded: RecordedMetrics) -> None:
    metrics = RunMetrics(Recorder(run="r", family="esm2"), 0.0)
    with pytest.raises(KeyboardInterrupt), metrics.embedding(3, Meter(9, 900, 12.0, lambda: 0.0)):
        raise KeyboardInterrupt
    assert (recorded.last(m.RUNNING), recorded.last(m.UNITS_LEFT)) == (0, 3)


SAMPLE = re.compile(r"(?P<name>\w+)\{(?P<labels>.*)\} (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def scraped() -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of everything that the agents of all nodes serve."""
    for address in addresses():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if found := SAMPLE.fullmatch(line):
                    yield found["name"], dict(LABEL.findall(found["labels"])), float(found["value"])


Served = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def served(cluster: None) -> Iterator[Served]:
    """The newest value of every series that the agents served while the test ran, read each second.

    An agent drops a gauge 20 s after its process set it for the last time, so reading once at the end finds the last
    values of an early run on a fast machine only.
    """
    found, ended = Served(), threading.Event()

    def read() -> None:
        while not ended.wait(1.0):
            with suppress(OSError):  # an agent of a loaded machine that did not answer in time is asked again
                found.update({(name, frozenset(labels.items())): value for name, labels, value in scraped()})

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    yield found
    ended.set()
    reader.join()


def values(served: Served, metric: Metric, **tags: str) -> list[float]:
    """The values of a metric under these tags, one for each process."""
    return [v for (name, labels), v in list(served.items()) if name == metric.exported and tags.items() <= labels]


def awaited(served: Served, wanted: float, metric: Metric, **tags: str) -> None:
    """Wait until the processes' values of a metric sum to `wanted`, which must happen with one of Ray's exports."""
    deadline = time.monotonic() + EXPORTED_WITHIN
    while not (found := values(served, metric, **tags)) or sum(found) != pytest.approx(wanted):
        if time.monotonic() > deadline:
            break
        time.sleep(1.0)
    assert found, (metric.name, tags)
    assert sum(found) == pytest.approx(wanted), (metric.name, tags)


@pytest.mark.slow
def test_the_agents_serve_the_summary(esm2: Path, tmp_path: Path, served: Served) -> None:
    """Two runs in one process, with the real encoder; `run` tells them apart."""
    proteins = hostile(tmp_path / "p.fasta")
    one = run([proteins], tmp_path / "one", esm2, EncoderSpec)
    two = run([proteins], tmp_path / "two", esm2, EncoderSpec, pooling=["max"])
    assert one.run != two.run
    for summary in (one, two):
        space = summary.spaces[0]
        tags = {"run": summary.run, "family": "esm2"}
        for outcome in ("stored", "duplicate", "rejected"):
            wanted = getattr(space, outcome)
            assert wanted, outcome
            awaited(served, wanted, m.RECORDS, space=space.space, outcome=outcome, **tags)
        awaited(served, summary.residues, m.RESIDUES, **tags)
        awaited(served, summary.residues, m.ACTOR_RESIDUES, **tags)  # no unit was repeated
        row = last_run(open_location(summary.store))
        assert row is not None
        packing = row["summary"][RECORD]["packing"]
        awaited(served, packing["tokens"], m.TOKENS, **tags)
        awaited(served, packing["packs"], m.PACKS, **tags)
        awaited(served, summary.records, m.INGESTED, run=summary.run)
        awaited(served, summary.seconds, m.ELAPSED, **tags)
        awaited(served, 0, m.SECONDS_LEFT, **tags)
        assert values(served, m.RUNNING, **tags) == [0]
