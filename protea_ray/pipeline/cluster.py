"""Join a Ray cluster or start a local one, and size the pool of encoder actors.

Ray 2.60 turns token authentication on for a cluster that `ray.init` starts, unless RAY_AUTH_MODE says otherwise, and
writes a token for it with the permissions that the umask leaves, mostly 0644. Whoever has the token can run code as
this user, so the token is made private here first.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.data import DataContext
from ray.exceptions import AuthenticationError

from protea_ray.config.run import RunOptions
from protea_ray.errors import ClusterError, ConfigError
from protea_ray.sequences.parts import Source

OWNER_ONLY = 0o600


def token_file() -> Path:
    """Where Ray looks for this user's token when the environment does not say."""
    return Path.home() / ".ray" / "auth_token"


def keep_token_private() -> None:
    """See that the token exists before Ray writes one, and that nobody else can read it."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    path = token_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        _make_private(path)
        return
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))


def _make_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        path.chmod(OWNER_ONLY)


LOCAL_OBJECT_STORE = 512 << 20  # bytes; units in flight are a few MB, Ray's default would take 30 % of the memory


@dataclass(frozen=True)
class Pool:
    """The encoder actors of a run. Resources are per actor; a CPU actor runs one thread."""

    device: str
    actors: int
    min_actors: int
    num_cpus: float
    num_gpus: float


def connect(options: RunOptions) -> None:
    """Join the cluster that was named (by option or RAY_ADDRESS), else start a local one; idempotent.

    A local cluster declares one CPU more than there are cores: encoder actors take one each, and a cluster whose
    actors hold every CPU leaves none for reading and hangs without a word.
    """
    _quieten()
    if ray.is_initialized():
        return
    address = options.address or os.environ.get("RAY_ADDRESS")
    with warnings.catch_warnings():
        # Ray starts its processes by fork and exec at once; nothing of lance runs in between
        warnings.filterwarnings("ignore", message="lance is not fork-safe")
        if address:
            _join(address)
        else:
            _start_local()


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


def _join(address: str) -> None:
    """Raises ConfigError when nothing answers there, or does not let us in (after 20 s: Ray tries that long)."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, AuthenticationError) as error:
        raise ConfigError(
            f"address: no Ray cluster let us in at {address}. Check that it runs; if it wants a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN as on the cluster"
        ) from error


def _start_local() -> None:
    keep_token_private()
    # Ray's C++ side writes to our standard error: a warning on every actor pool of Ray Data, which the level
    # removes, and a line about the level, which goes the way of everything that is written while Ray starts.
    # What matters comes as an exception.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        _init_local()
    except Exception:  # on a machine that is busy (load 37 on 2 cores) Ray's own start-up timeouts expire
        ray.shutdown()
        try:
            _init_local()
        except Exception as error:
            ray.shutdown()
            raise ClusterError(
                f"Ray did not start on this machine, twice: {error}. Is it out of memory, or busy?"
            ) from error


def _init_local() -> None:
    with _silent_stderr():
        ray.init(
            address="local",
            num_cpus=usable_cores() + 1,
            include_dashboard=False,
            object_store_memory=LOCAL_OBJECT_STORE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Point file descriptor 2 to nowhere: C++ does not know Python's sys.stderr."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def usable_cores() -> int:
    """Cores that this process may use, which is fewer than the machine has under taskset or a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_of(options: RunOptions) -> str:
    """`cuda` where the cluster has GPUs and nobody said otherwise; raises ConfigError for a GPU that is not there."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if options.device == "cuda" and not gpus:
        raise ConfigError("device: cuda was asked for, but the cluster has no GPU; use --device cpu")
    return "cuda" if gpus and options.device != "cpu" else "cpu"


def pool_for(options: RunOptions, device: str, units: int) -> Pool:
    """Size the actor pool: one actor a GPU, else one a CPU with one CPU left to read; never more than units."""
    resources = ray.cluster_resources()
    if device == "cuda":
        available, num_cpus, num_gpus = int(resources.get("GPU", 0)), 0.0, 1.0
    else:
        available, num_cpus, num_gpus = int(resources.get("CPU", 2)) - 1, 1.0, 0.0
    actors = max(1, min(options.actors or available, max(available, 1), units))
    return Pool(device, actors, min(options.min_actors or actors, actors), num_cpus, num_gpus)


def remote(function: Callable[..., Any], **options: Any) -> Any:
    """A Ray task of a plain function; Ray's own types do not follow `options`."""
    return ray.remote(function).options(**options)


def _quieten() -> None:
    """Our own progress is the one on the screen, and Ray Data's older readers are the ones that were tested."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it logs the traceback of every error that it raises
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.use_datasource_v2 = False
    context.raise_original_map_exception = True  # else only its text comes back, see failures.py
