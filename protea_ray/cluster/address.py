"""Look at a cluster's address before Ray does: Ray asks for minutes at an address where no cluster can be."""

from __future__ import annotations

import os
import re
import socket

import grpc
from ray._private.services import canonicalize_bootstrap_address

from protea_ray.errors import ConfigError

ANSWER_SECONDS = 15.0
_METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"  # what Ray asks first
_SILENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_WHERE_FROM = "Name the head's HOST:6379 (--address, RAY_ADDRESS), `auto` for the cluster of this machine, or neither"


def check_address(address: str, seconds: float = ANSWER_SECONDS) -> None:
    """Raise ConfigError unless a cluster's head answers at `address` within so many seconds.

    `auto` is the cluster that runs on this machine; `ray://` is Ray's own client, which looks for itself.
    """
    if address.startswith("ray://"):
        _check_port(_host_and_port(address.removeprefix("ray://"), address), address, seconds)
        return
    if "://" in address:
        raise _no_cluster(address, _other_scheme(address))
    if address != "auto":
        _host_and_port(address, address)
    try:
        place = canonicalize_bootstrap_address(address) or address  # of this machine by the name that Ray gives it
    except ConnectionError as error:
        raise _no_cluster(address, "finds no cluster on this machine") from error
    except (ValueError, OSError) as error:
        raise _no_cluster(address, f"is no HOST:PORT ({error})") from error
    _check_port(place, address, seconds)
    if os.environ.get("RAY_USE_TLS", "0") not in ("1", "true"):
        _check_head(place, address, seconds)


def _other_scheme(address: str) -> str:
    if address.startswith(("http://", "https://")):
        return "is a dashboard, which takes jobs (`ray job submit`) and no drivers"
    return f"has a scheme that is not known here ({address.split('://')[0]}://)"


def _host_and_port(place: str, address: str) -> str:
    """Return `place`; raises ConfigError when it is no HOST:PORT."""
    host, _, port = place.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise _no_cluster(address, "is no HOST:PORT")
    return place


def _check_port(place: str, address: str, seconds: float) -> None:
    """Raise ConfigError when no program listens at `place`."""
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except OSError as error:
        raise _no_cluster(address, f"does not answer ({error.strerror or error})") from error


def _check_head(place: str, address: str, seconds: float) -> None:
    """Raise ConfigError when what listens at `place` is no head of a Ray cluster; a head that wants a token is one."""
    with grpc.insecure_channel(place) as channel:
        try:
            channel.unary_unary(_METHOD)(b"", timeout=seconds, wait_for_ready=True)
        except grpc.RpcError as error:
            code = error.code()  # pyright: ignore[reportAttributeAccessIssue]
            if code in _SILENT:
                raise _no_cluster(address, f"is no head of a cluster: no answer in {seconds:.0f} s") from error
            if code == grpc.StatusCode.UNIMPLEMENTED:
                raise _no_cluster(address, "is another port of a cluster than its head's") from error


def _no_cluster(address: str, why: str) -> ConfigError:
    return ConfigError(f"{address} {why}. {_WHERE_FROM}", where="address")
