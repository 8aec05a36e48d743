"""`protea-ray doctor`: what a run would use here, and whether anything stands open."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from protea_ray.cli.options import JSON

UNSAFE = 1


def doctor(
    address: Annotated[str | None, typer.Option("--address", help="a Ray cluster to look at [RAY_ADDRESS]")] = None,
    dashboard: Annotated[list[str] | None, typer.Option("--dashboard", help="another dashboard's URL to try")] = None,
    as_json: JSON = False,
) -> None:
    """Versions, device, attention kernel, cores, memory, and open doors. Exit code 1 when something is not safe."""
    from protea_ray.errors import ConfigError
    from protea_ray.run.doctor import examine, to_json

    if bad := [url for url in dashboard or () if not url.startswith(("http://", "https://"))]:
        raise ConfigError(f"--dashboard: {bad[0]} is not an http URL", where="doctor")
    facts = examine(address, dashboard or ())
    for fact in facts:
        print(f"{fact.name:<14}{fact.value}")
    for fact in facts:
        if fact.problem:
            print(f"NOT SAFE: {fact.name}: {fact.problem}")
    if as_json:
        print(json.dumps(to_json(facts)))
    if any(fact.problem for fact in facts):
        raise typer.Exit(UNSAFE)
