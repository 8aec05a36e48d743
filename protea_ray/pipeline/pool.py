"""What a run asks of its Ray cluster: a device, a pool of encoder actors, single tasks.

The pool is planned from what is free, not from what the cluster has: the CPUs of other jobs, and of the task or actor
that this run was called in, will not come free for it. Encoder actors that held every free CPU would leave none for
reading, and the run would wait for ever.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray._private.state import available_resources_per_node
from ray.experimental import internal_kv

from protea_ray.config.run import RunOptions
from protea_ray.errors import ClusterError, ConfigError
from protea_ray.sequences.parts import Source

BESIDE_THE_READER = 0.0  # CPUs of an actor where one is free: Ray Data's repartition takes all of it, no share is left
SETTLE_SECONDS = 3.0  # what finished tasks held is reported as free after about one


@dataclass(frozen=True)
class Pool:
    """The encoder actors of a run. Resources are per actor; a CPU actor runs one thread.

    `shortage`: why it is smaller than it might be, for a person; None when it is not.
    """

    device: str
    actors: int
    min_actors: int
    num_cpus: float
    num_gpus: float
    shortage: str | None = None


def device_of(options: RunOptions) -> str:
    """`cuda` where it is asked for, or the cluster has GPUs and nobody said otherwise.

    Raises ConfigError for a GPU that is not there and that no autoscaler may bring.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if options.device == "cuda" and not gpus and not _can_grow():
        raise ConfigError("device: cuda was asked for, but the cluster has no GPU; use --device cpu")
    return "cuda" if options.device == "cuda" or (gpus and options.device != "cpu") else "cpu"


def pool_for(options: RunOptions, device: str, units: int) -> Pool:
    """Size the pool by what is free: one actor a GPU, else one a CPU with one left to read; never more than units.

    Where no more than one CPU is free, it is kept for reading, and one actor runs beside it. Where an autoscaler makes
    the cluster larger, `options.actors` are asked for, free or not: it starts nodes for those that wait.
    """
    kind = "GPU" if device == "cuda" else "CPU"
    kept = int(kind == "CPU")  # for reading
    free, total = free_by_node(kind), float(ray.cluster_resources().get(kind, 0))
    room = sum(math.floor(node) for node in free) - kept  # an actor's share must be free on one node
    wanted = max(1, min(options.actors or int(total) - kept, units))
    actors = wanted if options.actors and _can_grow() else max(1, min(wanted, room))
    num_cpus = 0.0 if kind == "GPU" else 1.0 if room > 0 else BESIDE_THE_READER
    shortage = None
    if actors < wanted:
        shortage = f"{sum(free):g} of the cluster's {total:g} {kind}s are free: {actors} encoder actor(s), not {wanted}"
    return Pool(device, actors, min(options.min_actors or actors, actors), num_cpus, float(kind == "GPU"), shortage)


def require_room() -> None:
    """Raise ClusterError where the tasks of a run can never be placed: none of the nodes has a CPU for them.

    A cluster that an autoscaler makes larger is waited for, and so are the CPUs of other jobs.
    """
    own = _own_cpus()
    largest = max((node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
    total = float(ray.cluster_resources().get("CPU", 0))
    if _can_grow() or (largest >= 1 and total - own >= 1):
        return
    held = f", of which the task or actor that calls holds {own:g}" if own else ""
    raise ClusterError(
        f"this Ray cluster has {total:g} CPU(s){held}; a run needs one for reading and encoding. Start Ray with more "
        "(ray.init(num_cpus=2)), or call from a task or actor that takes none (num_cpus=0)"
    )


def _own_cpus() -> float:
    """CPUs of the Ray task or actor that this process runs; 0 in a driver."""
    if ray.get_runtime_context().worker.mode != ray.WORKER_MODE:
        return 0.0
    return float(ray.get_runtime_context().get_assigned_resources().get("CPU", 0.0))


def _can_grow() -> bool:
    """Whether an autoscaler reports to this cluster; every cluster has a monitor, few have an autoscaler behind it."""
    status = internal_kv._internal_kv_get(b"__autoscaling_status") or b""
    return b'"autoscaler_report"' in status or bool(internal_kv._internal_kv_get(b"__autoscaler_v2_enabled"))


def free_by_node(kind: str) -> Sequence[float]:
    """What is free of one resource on each node, looked at for up to 3 s until nothing is held, or it no longer grows.

    The driver sees what a task held as free about a second after the task's end.
    """
    total = float(ray.cluster_resources().get(kind, 0))
    deadline = time.monotonic() + SETTLE_SECONDS
    best: list[float] = []
    while True:
        best = max(best, [float(node.get(kind, 0)) for node in _free_now()], key=sum)
        if sum(best) >= total or time.monotonic() > deadline:
            return best
        time.sleep(0.2)


def _free_now() -> Sequence[Mapping[str, float]]:
    """What is free on each node; through Ray's client (ray://) only the sum is known."""
    try:
        return list(available_resources_per_node().values())
    except Exception:
        return [ray.available_resources()]


def at_most(pool: Pool, units: int) -> Pool:
    """The same pool with no more actors than there are units."""
    actors = max(1, min(pool.actors, units))
    return replace(pool, actors=actors, min_actors=min(pool.min_actors, actors))


def remote(function: Callable[..., Any], **options: Any) -> Any:
    """A Ray task of a plain function; Ray's own types do not follow `options`."""
    return ray.remote(function).options(**options)


def require_reach(sources: Sequence[Source]) -> None:
    """Raise ConfigError when an input is a copy on this machine (a pipe, a web stream) and the cluster has others."""
    copies = [source.name for source in sources if source.copy_of]
    others = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]} - {socket.gethostname()}
    if copies and others:
        problem = (
            f"{', '.join(copies)}: can be read on this machine only, and the Ray cluster has others "
            f"({', '.join(sorted(others)[:3])}); write it to a file or bucket that all of them see"
        )
        raise ConfigError(problem, where="input")
