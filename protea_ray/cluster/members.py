"""What a running cluster consists of: nodes, CPUs, GPUs, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray

from protea_ray.cluster.address import check_address
from protea_ray.cluster.connect import connect
from protea_ray.config.run import RunOptions


@dataclass(frozen=True)
class Members:
    """Sums over the nodes that are alive. `memory` in bytes, `gpu_kinds` by Ray's names of accelerators."""

    nodes: int
    dead: int
    cpus: int
    gpus: int
    memory: int
    gpu_kinds: tuple[str, ...]

    def in_words(self) -> str:
        """One line."""
        kinds = f" ({', '.join(self.gpu_kinds)})" if self.gpu_kinds else ""
        gone = f", {self.dead} dead" if self.dead else ""
        return (
            f"{self.nodes} node(s){gone}, {self.cpus} CPUs, {self.gpus} GPUs{kinds}, {self.memory / (1 << 30):.1f} GiB"
        )


def members(address: str) -> Members:
    """Join the cluster at `address`, count, and leave it again; raises ConfigError where none lets us in.

    Ray refuses a driver of another version of Ray or Python, so the versions of the nodes are those of this process.
    """
    check_address(address)
    joined = not ray.is_initialized()
    connect(RunOptions(address=address))
    try:
        nodes: list[dict[str, Any]] = ray.nodes()
    finally:
        if joined:
            ray.shutdown()
    alive = [node["Resources"] for node in nodes if node["Alive"]]

    def total(resource: str) -> int:
        return int(sum(held.get(resource, 0) for held in alive))

    prefix = "accelerator_type:"
    kinds = sorted({name.removeprefix(prefix) for held in alive for name in held if name.startswith(prefix)})
    return Members(len(alive), len(nodes) - len(alive), total("CPU"), total("GPU"), total("memory"), tuple(kinds))
