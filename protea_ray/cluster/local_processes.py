"""Which of Ray's processes a cluster of one run on one machine is started without.

Ray has no option for them: its own classes take them, and `ray.init` does not pass them on.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray._private.parameter as ray_parameter
import ray._private.services as ray_services

# the log monitor reads workers' files for a driver that prints them, which ours does not; the monitor is an
# autoscaler's, and nothing scales one machine. Two runs at once share the machine with four processes less. The agent
# takes a free port: the usual one is taken where another Ray runs on the machine, and the agent then waits for it
_LESS = {"include_log_monitor": False, "no_monitor": True, "dashboard_agent_listen_port": 0}


@contextmanager
def fewer_processes() -> Iterator[None]:
    """Within the block `ray.init` starts no log monitor, no autoscaler's monitor and no process for usage statistics.

    The last one asks three clouds' metadata services even where statistics are off; it is the dashboard's process, and
    without a dashboard it does nothing else.
    """
    parameters, start = ray_parameter.RayParams, ray_services.start_api_server

    def only_a_dashboard(include_dashboard: bool | None, *rest: Any, **more: Any) -> Any:
        return start(include_dashboard, *rest, **more) if include_dashboard else (None, None)

    ray_parameter.RayParams = functools.partial(parameters, **_LESS)
    ray_services.start_api_server = only_a_dashboard
    try:
        yield
    finally:
        ray_parameter.RayParams, ray_services.start_api_server = parameters, start
