"""A cluster of GPUs that are only counted, and an encoder that sleeps for as long as one would compute.

Everything else of a run is real: Ray's nodes and actors, Ray Data's scheduling, reading, fragments, commits. Actors
import neither torch nor transformers, so that a machine carries many of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder.collect import Embedded, Rejected, Stats
from protea_ray.pipeline.worker import EncoderSpec
from protea_ray.plan.cost import Cost

GPUS_PER_NODE = 8
NO_COST = Cost(0.0, 0.0)
OBJECT_STORE = {"head": 512 << 20, "node": 128 << 20}  # bytes; units in flight are a few hundred kB each


@dataclass(frozen=True)
class SimulatedSpec(EncoderSpec):
    """What an actor loads in place of a model: `cost` in seconds, `width` of a vector, `log` a folder for times."""

    cost: Cost = NO_COST
    width: int = 320
    log: Path = Path()

    def load(self, recipes: Sequence[EmbeddingConfig]) -> Any:
        """An encoder that sleeps; its first line in the log says when this process was ready."""
        return SleepingEncoder(self.cost, self.width, len(recipes), self.log / f"{os.getpid()}.jsonl")

    @property
    def device_name(self) -> str:
        """Not a device."""
        return "simulated GPU"


class SleepingEncoder:
    """Vectors (1, width) float32 that depend on the letters, after the seconds that `cost` says; writes a log."""

    attention = layers = products = SimpleNamespace(name="no", why="simulated")
    token_budget = 1024
    peak_gpu_memory = 0

    def __init__(self, cost: Cost, width: int, recipes: int, log: Path) -> None:
        self._cost, self._recipes, self._log = cost, recipes, log
        self.stats = Stats()
        self._table = np.random.default_rng(0).normal(size=(256, width)).astype(np.float32)
        self._write({"ready": time.time()})

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded | Rejected]:
        """Default recipes only: the mean of each protein. What the vectors take is part of the seconds."""
        began = time.time()
        self.stats.forward_passes += 1
        self.stats.tokens += sum(len(s) + 2 for s in sequences)
        seconds = float(self._cost.of(np.array([len(s) for s in sequences])).sum())
        vectors = self._vectors(sequences)
        spans = np.array([[[0, len(s)]] for s in sequences], np.int32)
        time.sleep(max(0.0, began + seconds - time.time()))
        for index, sequence in enumerate(sequences):
            for recipe in range(self._recipes):
                pooled = {"mean": vectors[index : index + 1]}
                yield Embedded(index, recipe, spans[index], pooled, None, len(sequence), 1, False)
        self._write({"began": began, "ended": time.time(), "cost": seconds, "proteins": len(sequences)})

    def _vectors(self, sequences: Sequence[str]) -> np.ndarray:
        digests = b"".join(hashlib.blake2b(s.encode(), digest_size=4).digest() for s in sequences)
        return self._table[np.frombuffer(digests, np.uint8).reshape(-1, 4)].sum(axis=1)

    def _write(self, line: dict[str, Any]) -> None:
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")


@contextmanager
def simulated_cluster(gpus: int, readers: int) -> Iterator[None]:
    """A head with `readers` CPUs, and nodes of eight GPUs that are only numbers; this process joins it."""
    with tempfile.TemporaryDirectory(prefix="sim", ignore_cleanup_errors=True) as place:
        os.environ["RAY_TMPDIR"] = place  # other clusters of this machine do not see this one's address
        head = {"num_cpus": readers, "include_dashboard": False, "object_store_memory": OBJECT_STORE["head"]}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for first in range(0, gpus, GPUS_PER_NODE):
                here = min(GPUS_PER_NODE, gpus - first)
                cluster.add_node(num_cpus=0, num_gpus=here, object_store_memory=OBJECT_STORE["node"])
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            yield
        finally:
            ray.shutdown()
            cluster.shutdown()
            del os.environ["RAY_TMPDIR"]


def processes_below(pid: int) -> dict[int, str]:
    """Command line of every process that descends from `pid`."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                commands[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue  # it ended meanwhile
            parents[int(entry.name)] = int(stat.rsplit(")", 1)[-1].split()[1])
    return {p: text for p, text in commands.items() if _descends(p, pid, parents)}


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def memory_of(pid: int) -> tuple[int, int]:
    """Resident and proportional bytes of a process; zeros when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return kilobytes["Rss"] << 10, kilobytes["Pss"] << 10
