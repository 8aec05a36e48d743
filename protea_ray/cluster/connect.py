"""Join a Ray cluster, or start a local one.

Everything in this package that needs Ray comes through `connect`, so that one process has one cluster, started in one
way: no dashboard, a private token, no traffic to a cloud's metadata service, nothing on the screen but our own lines.
"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import ray
import ray._private.ray_constants as ray_constants
import ray._private.worker as ray_worker
from ray.data import DataContext

from protea_ray.cluster.address import check_address
from protea_ray.cluster.cores import usable_cores
from protea_ray.cluster.helper_actors import with_helper_actors, without_helper_actors
from protea_ray.cluster.local_processes import fewer_processes
from protea_ray.cluster.places import object_directory, ray_directory
from protea_ray.cluster.start_errors import is_slow_start, join_error, start_error
from protea_ray.cluster.token import ensure_private_token
from protea_ray.config.run import RunOptions

LOCAL_OBJECT_STORE = 512 << 20  # bytes; units in flight are a few MB, Ray's default would take 30 % of the memory
LOCAL = "local"
_DIRECT = "no_grpc_proxy"  # hosts that gRPC reaches without a proxy; it reads small letters only
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_started_here: str | None = None  # session of the newest cluster that this process started


def connect(options: RunOptions) -> None:
    """Join the cluster that was named (by option or RAY_ADDRESS), else start a local one; idempotent.

    Raises ConfigError for an address at which no cluster lets us in, and ClusterError when none starts here.
    """
    global _started_here
    _quieten()
    if ray.is_initialized():
        if _session() != _started_here:  # somebody else's cluster, after one of ours was shut down
            with_helper_actors()
        return
    address = wanted_address(options)
    # Ray's C++ side writes to our standard error: a warning on every actor pool of Ray Data, which the level
    # removes. What matters comes as an exception.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    _reach_this_machine_directly()
    with warnings.catch_warnings():
        # Ray starts its processes by fork and exec at once; nothing of lance runs in between
        warnings.filterwarnings("ignore", message="lance is not fork-safe")
        if address == LOCAL:
            _start()
            _started_here = _session()
            without_helper_actors()
        else:
            with_helper_actors()
            _join(address)


def wanted_address(options: RunOptions) -> str:
    """The cluster that was named, by option or RAY_ADDRESS; LOCAL for one on this machine."""
    return (options.address or os.environ.get("RAY_ADDRESS") or LOCAL).strip()


def _session() -> str | None:
    """Name of the cluster that this process is in; unique in time."""
    node = ray_worker._global_node
    return node.session_name if node else None


def hush() -> None:
    """Keep Ray from printing what its processes say while a run is being stopped; the next `connect` undoes it."""
    ray_worker._worker_logs_enabled = False


def _join(address: str) -> None:
    check_address(address)
    try:
        with _silent_stderr():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        with suppress(Exception):
            ray.shutdown()
        raise join_error(error, address) from error


def _start() -> None:
    """Start a local cluster; once more when Ray's own start-up timeouts expired (load 37 on 2 cores did that)."""
    ensure_private_token()
    for attempt in (1, 2):
        try:
            _init_local()
            return
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            if attempt == 2 or not is_slow_start(error):
                raise start_error(error, attempt) from error


def _init_local() -> None:
    """Declare one CPU more than there are cores: encoder actors take one each, and reading needs one too."""
    place = ray_directory()
    with _silent_stderr(), _same_environment(), fewer_processes():
        ray.init(
            address=LOCAL,
            num_cpus=usable_cores() + 1,
            include_dashboard=False,
            object_store_memory=LOCAL_OBJECT_STORE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(place),
            _plasma_directory=object_directory(place),
        )


@contextmanager
def _same_environment() -> Iterator[None]:
    """Workers on this machine have this process's environment: under `uv run` Ray would upload the whole directory."""
    before = ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    try:
        yield
    finally:
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = before


def _reach_this_machine_directly() -> None:
    """Keep gRPC between Ray's processes from an HTTP proxy; other traffic keeps the proxies it has."""
    known = os.environ.get(_DIRECT) or os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in known.split(",") if host.strip()]
    os.environ[_DIRECT] = ",".join(dict.fromkeys([*hosts, *_LOOPBACK, *_own_addresses()]))


def _own_addresses() -> Iterator[str]:
    """Name and address of this machine, as Ray finds them: a socket that sends nothing."""
    yield socket.gethostname()
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("8.8.8.8", 53))
        yield str(probe.getsockname()[0])


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Point file descriptor 2 to nowhere: C++ does not know Python's sys.stderr."""
    try:
        saved = os.dup(2)
    except OSError:  # closed by whoever started this process
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _quieten() -> None:
    """Our own progress is the one on the screen, and Ray Data's older readers are the ones that were tested."""
    ray_worker._worker_logs_enabled = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it logs the traceback of every error that it raises
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.use_datasource_v2 = False
    context.raise_original_map_exception = True  # else only its text comes back, see failures.py
