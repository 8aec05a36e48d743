"""Ray Data's own three actors, kept out of a cluster of one machine.

Ray Data starts one actor for statistics, one that asks an autoscaler for machines, and one that knows on which node
each actor of a pool is. Each is a process that imports Ray Data, a second of a core, while the encoder is loaded; the
driver waits for the first before it makes a data set and for the second before it starts the pool. On two cores the
first vector of ten proteins comes 0.7 to 1.3 s sooner without them (decision 0017). On one machine that nothing scales
their answers are known; only Ray Data's dashboard, which a local cluster has not, loses figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import ray
import ray.data._internal.cluster_autoscaler.rate_based_cluster_autoscaler as autoscaler
import ray.data._internal.execution.operators.actor_pool_map_operator as actor_pool
from ray.data._internal.cluster_autoscaler import AutoscalingCoordinator
from ray.data._internal.stats import _StatsManager as Statistics  # pyright: ignore[reportPrivateUsage]


class AllThereIs(AutoscalingCoordinator):
    """Grants each execution what the nodes that are there have; asks for no more."""

    def __init__(self, **_: Any) -> None:
        self._granted = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}

    def request_resources(self, *_: Any, **__: Any) -> None:
        """Do nothing: no machine will come."""

    def cancel_request(self) -> None:
        """Do nothing: nothing was asked for."""

    def get_reserved_resources(self) -> dict[str, dict[str, float]]:
        """Resources by node; asked for in every turn of the scheduling loop."""
        return self._granted


class _NotCalled:
    """In place of a method of an actor: `.remote` sends nothing."""

    def remote(self, *_: Any) -> None:
        """Do nothing."""


class NoPlaces:
    """In place of the handle with which an actor of a pool says where it is; travels to that actor."""

    update_actor_location = _NotCalled()


def _this_node(actors: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(actors, ray.get_runtime_context().get_node_id())


def _nothing(*_: Any, **__: Any) -> None:
    pass


# (where Ray Data looks it up, its name, what a cluster of one machine has instead)
_INSTEAD: tuple[tuple[Any, str, Any], ...] = (
    (autoscaler, "DefaultAutoscalingCoordinator", AllThereIs),
    (actor_pool, "get_or_create_actor_location_tracker", NoPlaces),
    (actor_pool, "get_actor_locations", _this_node),
    (Statistics, "gen_dataset_id_from_stats_actor", staticmethod(lambda: uuid4().hex)),
    (Statistics, "register_dataset_to_stats_actor", staticmethod(_nothing)),
    (Statistics, "update_execution_metrics", staticmethod(_nothing)),
    (Statistics, "update_iteration_metrics", staticmethod(_nothing)),
)
_RAYS_OWN: tuple[Any, ...] = tuple(vars(place)[name] for place, name, _ in _INSTEAD)


def without_helper_actors() -> None:
    """From now on this process's data sets start none of the three actors."""
    for place, name, instead in _INSTEAD:
        setattr(place, name, instead)


def with_helper_actors() -> None:
    """From now on this process's data sets start them, as Ray Data does: a cluster may have, or get, more machines."""
    for (place, name, _), own in zip(_INSTEAD, _RAYS_OWN, strict=True):
        setattr(place, name, own)
