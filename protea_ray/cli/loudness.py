"""How much a run says while it goes on: `--verbose` and `--quiet` of the commands that run for long."""

from __future__ import annotations

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
    return "verbose" if verbose else "quiet" if quiet else "normal"
