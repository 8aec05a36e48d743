"""How much a run says while it goes on: `--verbose` and `--quiet` of the commands that run for long."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from protea_ray.cluster.phases import Loudness

VERBOSE = Annotated[
    bool, typer.Option("--verbose", "-v", help="also say how the engine computes, and all that was left aside")
]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="say nothing but errors, warnings and the result")]


def loudness(verbose: bool, quiet: bool) -> Loudness:
    """How loud the run is to be; raises ConfigError for both at once."""
    if verbose and quiet:
        from protea_ray.errors import ConfigError

        raise ConfigError("give --verbose or --quiet, not both", where="arguments")
    if verbose:
        handler = logging.StreamHandler()  # what is a warning is said without it
        logging.getLogger("protea_ray").addHandler(handler)
        logging.getLogger("protea_ray").setLevel(logging.INFO)
    return "verbose" if verbose else "quiet" if quiet else "normal"
