"""The real pipeline on GPUs that are only numbers: utilisation, the longest tail, and what the driver takes.

    python -m benchmarks.cluster.simulate [--gpus 48] [--proteins 1000000] [--lengths FILE] [--json FILE]

Actors sleep for what a unit would cost (see simulated_cluster.py); reading, scheduling, fragments and commits are
those of any run, and all of it shares this machine's cores with the actors. Units per second decide what the driver
takes, so a slow simulated GPU with small units stands for a larger cluster with large ones.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import lance
import numpy as np
import typer

from benchmarks.cluster.schedule import Schedule
from benchmarks.cluster.simulated_cluster import SimulatedSpec, memory_of, processes_below, simulated_cluster
from protea_ray.acceptance.drawn import accepted
from protea_ray.cluster.progress import LineReporter
from protea_ray.config.cache import CACHE_VARIABLE
from protea_ray.config.run import run_config
from protea_ray.models.untrained import MODEL_NAME
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.embed import embed
from protea_ray.plan.cost import Cost, transformer_cost
from protea_ray.sequences.synth import synthesise

SAMPLE = 20_000  # synthetic proteins that stand for the distribution of lengths
LETTERS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)


@dataclass(frozen=True)
class Figures:
    """What came. Memory in bytes, times in seconds; `driver_cores` is its CPU time over the time of the embedding."""

    gpus: int
    proteins: int
    stored: int
    units: int
    unit_seconds: float
    commits: int
    seconds: float
    ideal_seconds: float
    startup_seconds: float
    utilisation: float
    utilisation_all_ready: float
    over_time: list[float]
    tail: float
    units_per_second: float
    driver_cpu_seconds: float
    driver_cores: float
    driver_ms_per_unit: float
    driver_rss: int
    actor_rss: int
    actor_pss: int
    load: float


def main(
    proteins: Annotated[int, typer.Option(min=1, help="how many proteins")] = 1_000_000,
    gpus: Annotated[int, typer.Option(min=1, help="simulated GPUs, one actor each")] = 48,
    seconds: Annotated[float, typer.Option(min=1, help="compute for each GPU, which sets its speed")] = 240.0,
    readers: Annotated[int, typer.Option(min=1, help="CPUs that the cluster says it has for reading")] = 4,
    lengths: Annotated[str | None, typer.Option(help="input whose lengths are drawn [synthetic ones]")] = None,
    unit_seconds: Annotated[float | None, typer.Option(help="as run.unit_seconds")] = None,
    folder: Annotated[Path | None, typer.Option(help="new folder for input and store [removed afterwards]")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="write figures and the times of units there")] = None,
) -> None:
    """Run, and print the figures."""
    options = {} if unit_seconds is None else {"unit_seconds": unit_seconds}
    with tempfile.TemporaryDirectory(prefix="simulate-") as scratch:
        drawn = draw(known_lengths(lengths), proteins)
        figures, schedule = simulate(drawn, gpus, seconds, readers, options, folder or Path(scratch))
    for name, value in asdict(figures).items():
        print(f"{name:22} {value}")
    if out is not None:
        times = {name: getattr(schedule, name).tolist() for name in ("ready", "began", "ended", "cost")}
        out.write_text(json.dumps({**asdict(figures), "schedule": times, "lengths": lengths}))


def known_lengths(source: str | None) -> np.ndarray:
    """Residues of the proteins of an input, or of synthetic ones."""
    if source is None:
        return np.array([len(p.sequence) for p in synthesise(SAMPLE, seed=0)])
    return np.concatenate([batch["length"].to_numpy() for batch in accepted(source)])


def draw(known: np.ndarray, count: int) -> np.ndarray:
    """`count` of them with replacement, the same every time."""
    return np.random.default_rng(0).choice(known, count)


def write_proteins(lengths: np.ndarray, target: Path) -> None:
    """Random letters of these lengths as FASTA."""
    rng = np.random.default_rng(1)
    with target.open("wb") as file:
        for number, length in enumerate(lengths.tolist()):
            file.write(b">s%d\n%s\n" % (number, LETTERS[rng.integers(0, 20, length, np.uint8)].tobytes()))


def cost_for(lengths: np.ndarray, total: float) -> Cost:
    """ESM-2 650M on a device that takes `total` seconds for proteins of these lengths."""
    return transformer_cost(layers=33, hidden=1280, attention=1280, ffn=5120).fitted([(lengths, total)])


class Watcher(LineReporter):
    """Notes when embedding began, what the driver had used by then, and what the actors' memory is."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.cpu, self.units = 0.0, 0.0, 0
        self.memory: list[tuple[int, int]] = []

    def start(self, proteins: int, residues: int, seconds: float, rejects: int = 0, foretold: float = 0.0) -> None:
        """Embedding begins."""
        super().start(proteins, residues, seconds, rejects, foretold)
        self.began, self.cpu = time.time(), time.process_time()

    def advance(self, proteins: int, residues: int, seconds: float, took: float, rejects: int) -> None:
        """Look at the memory once, when every actor has worked."""
        super().advance(proteins, residues, seconds, took, rejects)
        self.units += 1
        if self._meter.fraction > 0.7 and not self.memory:
            self.memory = [(0, 0)]
            threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        found = processes_below(os.getpid())
        self.memory = [memory_of(pid) for pid, text in found.items() if "MapWorker(MapBatches(EmbedUnits" in text]


def simulate(
    lengths: np.ndarray, gpus: int, seconds: float, readers: int, options: dict[str, Any], scratch: Path
) -> tuple[Figures, Schedule]:
    """One run of the pipeline over proteins of these lengths; its store is in `scratch`."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # GPUs are numbers here, and Ray would count those that it names
    os.environ[CACHE_VARIABLE] = str(scratch / "cache")  # what was seen of a real device must not be touched
    fasta, log, store = scratch / "proteins.fasta", scratch / "log", scratch / "store"
    log.mkdir(parents=True)
    write_proteins(lengths, fasta)
    make_spec = functools.partial(SimulatedSpec, cost=cost_for(lengths, gpus * seconds), log=log)
    watcher = Watcher()
    with simulated_cluster(gpus, readers):
        summary = embed([str(fasta)], str(store), run_config({"model": MODEL_NAME, "run": options}), watcher, make_spec)
        used = time.process_time() - watcher.cpu
    schedule = read_log(log, watcher.began)
    return figures_of(summary, schedule, watcher, used, gpus, store), schedule


def read_log(log: Path, since: float) -> Schedule:
    """Times of the actors, counted from the first that was ready; the probe before `since` is left out."""
    actors = [[json.loads(line) for line in file.read_text().splitlines()] for file in log.glob("*.jsonl")]
    actors = [lines for lines in actors if lines[0]["ready"] > since]
    units = [unit for lines in actors for unit in lines[1:]]
    ready = np.array([lines[0]["ready"] for lines in actors])
    began, ended, cost = (np.array([unit[name] for unit in units]) for name in ("began", "ended", "cost"))
    return Schedule(ready - ready.min(), began - ready.min(), ended - ready.min(), cost)


def figures_of(summary: Summary, schedule: Schedule, watcher: Watcher, used: float, gpus: int, store: Path) -> Figures:
    """The table of a run; the store is looked into with lance alone."""
    space = lance.dataset(str(store / f"{summary.spaces[0].space}.lance"))
    everybody = float(np.interp(schedule.ready.max(), *schedule.progress)) / float(schedule.cost.sum())
    return Figures(
        gpus=gpus,
        proteins=summary.records,
        stored=space.count_rows(),
        units=watcher.units,
        unit_seconds=float(schedule.cost.mean()),
        commits=space.version - 1,
        seconds=schedule.seconds,
        ideal_seconds=schedule.ideal_seconds,
        startup_seconds=float(schedule.ready.max()),
        utilisation=schedule.utilisation(),
        utilisation_all_ready=schedule.utilisation(start=everybody),
        over_time=[round(part, 3) for part in schedule.over_time()],
        tail=schedule.tail,
        units_per_second=watcher.units / schedule.seconds,
        driver_cpu_seconds=used,
        driver_cores=used / (time.time() - watcher.began),
        driver_ms_per_unit=1e3 * used / watcher.units,
        driver_rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        actor_rss=max((rss for rss, _ in watcher.memory), default=0),
        actor_pss=max((pss for _, pss in watcher.memory), default=0),
        load=os.getloadavg()[0],
    )


if __name__ == "__main__":
    typer.run(main)
