"""What a failed `ray.init` means, in one sentence with its own advice."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ray.exceptions import AuthenticationError

from protea_ray.errors import ClusterError, ConfigError, ProteaRayError

_TOKEN = "if it wants a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN as on the cluster"
_SLOW = re.compile(r"timed? ?out|did not start within|failed to start|Failed to connect to GCS", re.IGNORECASE)
_LOGS = "Its logs are in the folder ray/session_latest of RAY_TMPDIR, TMPDIR or /tmp"


@dataclass(frozen=True)
class _Advice:
    """What to do about the errors whose text matches."""

    text: re.Pattern[str]
    advice: str


_OF_THE_MACHINE = (
    _Advice(re.compile(r"AF_UNIX|socket_filename"), "Set RAY_TMPDIR to a shorter path, such as /tmp"),
    _Advice(
        re.compile(r"No space left|Disk quota exceeded"), "Free some space there, or set RAY_TMPDIR to another disk"
    ),
    _Advice(re.compile(r"Too many open files"), "Raise the limit of open files (`ulimit -n 65536`)"),
    _Advice(
        re.compile(r"Resource temporarily unavailable|can't start new thread|pthread_create"),
        "Raise the limit of processes and threads (`ulimit -u`, or the container's pids limit)",
    ),
    _Advice(re.compile(r"Cannot allocate memory|MemoryError"), "Free some memory: Ray needs about 1 GB to start"),
    _Advice(
        re.compile(r"runtime[ _]env|working_dir|RAY_JOB_CONFIG_JSON", re.IGNORECASE),
        "One machine needs no runtime environment: unset RAY_RUNTIME_ENV_HOOK and RAY_JOB_CONFIG_JSON_ENV_VAR",
    ),
    _Advice(
        re.compile(r"Read-only file system|Permission denied"), "Set RAY_TMPDIR to a directory that can be written"
    ),
    _Advice(re.compile(r"already in use|Address in use"), "Another program has that port; start again"),
)


def is_slow_start(error: Exception) -> bool:
    """Whether Ray gave up waiting for its own processes, so that a second attempt may succeed."""
    return bool(_SLOW.search(str(error))) and _advice(str(error)) is None


def start_error(error: Exception, attempts: int) -> ProteaRayError:
    """The error to raise when no local cluster started."""
    if isinstance(error, AuthenticationError):
        return ConfigError(f"Ray does not take the token here: {one_line(error)}. Correct or unset RAY_AUTH_TOKEN and "
                           "RAY_AUTH_TOKEN_PATH", where="Ray")  # fmt: skip
    often = "" if attempts == 1 else ", twice"
    advice = _advice(str(error) or type(error).__name__)
    if advice is None:
        advice = "Is the machine out of memory, or busy?" if is_slow_start(error) else _LOGS
    return ClusterError(f"Ray did not start on this machine{often}: {one_line(error)}. {advice}")


def join_error(error: Exception, address: str) -> ProteaRayError:
    """The error to raise when the cluster at `address` could not be joined."""
    said = str(error)
    if isinstance(error, AuthenticationError | ConnectionError):
        return ConfigError(f"no Ray cluster let us in at {address}. Check that it runs; {_TOKEN}", where="address")
    if "ersion mismatch" in said:
        return ConfigError(_other_version(said, address), where="address")
    if isinstance(error, ValueError):
        return ConfigError(f"{address!r} is no address of a Ray cluster: {one_line(error)}", where="address")
    if re.search(r"runtime[ _]env|working_dir", said, re.IGNORECASE):
        return ClusterError(f"the cluster at {address} could not set up this job's runtime environment: "
                            f"{one_line(error)}. Correct or leave out --runtime-env; under `uv run`, set "
                            "RAY_ENABLE_UV_RUN_RUNTIME_ENV=0 where the nodes have the package")  # fmt: skip
    return ClusterError(
        f"the cluster at {address} could not be joined: {one_line(error)}. {_advice(said) or ''}".strip()
    )


def _other_version(said: str, address: str) -> str:
    """Both sides' versions of Ray and Python, as Ray lists them: the cluster's first."""
    rays, pythons = re.findall(r"Ray: ?(\S+)", said), re.findall(r"Python: ?(\S+)", said)
    if len(rays) < 2 or len(pythons) < 2:
        return f"the cluster at {address} runs another version: {one_line(Exception(said))}"
    return (
        f"the cluster at {address} runs Ray {rays[0]} on Python {pythons[0]}, this process Ray {rays[1]} on Python "
        f"{pythons[1]}; both must be the same. This package needs the Ray it came with: give every node an image with "
        f"Ray {rays[1]} and Python {pythons[1]}"
    )


def _advice(said: str) -> str | None:
    return next((known.advice for known in _OF_THE_MACHINE if known.text.search(said)), None)


def one_line(error: Exception) -> str:
    """An error's first 400 characters on one line, without the full stop."""
    return " ".join((str(error) or type(error).__name__).split())[:400].rstrip(" .")
