"""`protea-ray doctor`: what a run would use on this machine, and whether anybody could get in.

Everything is found without starting a cluster; one that is named is joined and left again. What imports Ray or torch
is imported when it is asked for, because `--help` loads this file.
"""

from __future__ import annotations

import json
import os
import platform
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer

from protea_ray.cli.options import JSON
from protea_ray.config.libraries import SHOWN, versions
from protea_ray.errors import ConfigError, ProteaRayError

UNSAFE = 1
DASHBOARD_PORT = 8265  # Ray's own default
WAIT_SECONDS = 3.0
_JOBS = "/api/jobs/"  # what a stranger must not see: the same address takes new jobs, and a job is code


@dataclass(frozen=True)
class Fact:
    """One line of the report; `problem` says what to do where something is not safe, or `sign` something else."""

    name: str
    value: str
    problem: str | None = None
    sign: str = "NOT SAFE"


def examine(address: str | None = None, dashboards: Iterable[str] = ()) -> list[Fact]:
    """Every fact that `protea-ray doctor` prints. `address` is a cluster's, `dashboards` are more URLs to ask."""
    facts = [Fact(name, number) for name, number in versions(SHOWN).items()]
    facts += [Fact("python", platform.python_version()), *_machine(), _attention(), _token(), *_cluster(address)]
    return facts + [_dashboard(url) for url in dict.fromkeys([*_likely_dashboards(address), *dashboards])]


def to_json(facts: Iterable[Fact]) -> dict[str, Any]:
    """`ok` (nothing is unsafe or unreachable), and the facts."""
    listed = [asdict(fact) for fact in facts]
    return {"ok": all(fact["problem"] is None for fact in listed), "facts": listed}


def _machine() -> Iterator[Fact]:
    """Cores and memory."""
    from protea_ray.cluster.cores import cpu_quota, usable_cores

    quota = cpu_quota()
    limited = "" if quota is None else f" (a quota of {quota:g} CPUs)"
    yield Fact("cores", f"{usable_cores()} usable of {os.cpu_count()}{limited}")
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    yield Fact("memory", f"{pages * page / (1 << 30):.1f} GiB")


def _attention() -> Fact:
    """The device that a run here would choose, and the kernels for a model without and with a relative bias."""
    import torch

    from protea_ray.encoder import acceleration
    from protea_ray.encoder.attention import choose

    cuda = torch.cuda.is_available()
    device, dtype = ("cuda", "bfloat16") if cuda else ("cpu", "float32")
    name = torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU"
    plain, biased = choose(device, dtype, False), choose(device, dtype, True)
    layers, multiplied = acceleration.choose_compiling(device, plain.name), acceleration.choose_product(device)
    return Fact(
        "device",
        f"{name}, {dtype}: {plain.name} ({plain.why}); T5 and Ankh: {biased.name} ({biased.why}); "
        f"layers {layers.name} ({layers.why}); products by {multiplied.name} ({multiplied.why})",
    )


def _token() -> Fact:
    """Ray's mode of authentication, and who can read the token."""
    from protea_ray.cluster.token import OWNER_ONLY, token_file

    mode = os.environ.get("RAY_AUTH_MODE", "token (Ray's default for clusters started here)")
    if mode == "disabled":
        return Fact("Ray token", mode, "unset RAY_AUTH_MODE: without a token anybody who reaches the cluster runs code")
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Fact("Ray token", mode)
    try:
        path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or token_file())
        known = path.exists()
    except (OSError, RuntimeError):
        return Fact("Ray token", f"{mode}, in the environment of each run: no home directory that can be read")
    if not known:
        return Fact("Ray token", mode)
    loose = path.stat().st_mode & 0o777 & ~OWNER_ONLY
    return Fact("Ray token", f"{mode}, {path}", f"others can read it: chmod 600 {path}" if loose else None)


def _cluster(address: str | None) -> Iterator[Fact]:
    """The cluster that a run would join, if any was named."""
    named = (address or os.environ.get("RAY_ADDRESS") or "local").strip()
    if named == "local":
        return
    from protea_ray.cluster.members import members

    try:
        yield Fact("cluster", f"{named}: {members(named).in_words()}")
    except ProteaRayError as error:
        yield Fact("cluster", f"{named}: none that can be joined", str(error), "NO CLUSTER")


def _likely_dashboards(address: str | None) -> list[str]:
    """URLs at which a dashboard would be: of this machine, and of the head of the cluster that would be joined."""
    hosts = ["127.0.0.1", platform.node()]
    named = address or os.environ.get("RAY_ADDRESS") or ""
    head = urlsplit(named if "://" in named else f"//{named}").hostname
    hosts += [head] if head and head not in ("auto", "local") else []
    return [f"http://{host}:{DASHBOARD_PORT}" for host in hosts]


def _dashboard(url: str) -> Fact:
    """Ask a dashboard for its jobs without a token, as a stranger would."""
    try:
        with urllib.request.urlopen(url.rstrip("/") + _JOBS, timeout=WAIT_SECONDS) as answer:  # http(s) only, see cli
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except (OSError, ValueError):
        return Fact("dashboard", f"{url}: none answers")
    if status in (401, 403):
        return Fact("dashboard", f"{url}: asks for a token")
    advice = "stop that cluster and start it with RAY_AUTH_MODE=token, or bind it to 127.0.0.1 behind a tunnel"
    return Fact("dashboard", f"{url}: lets anybody in (status {status})", f"{advice}: who reaches it can run code")


def _accept(out: Path, only: str, device: str, minutes: float | None, proteins: str | None) -> NoReturn:
    from protea_ray.acceptance.all_parts import accept

    report = accept(out, only=only, device=device, minutes=minutes, proteins=proteins)
    print(f"{out}/acceptance.md, acceptance.json")
    raise typer.Exit(report.exit_code)


def doctor(
    out: Annotated[
        Path | None, typer.Argument(help="with --acceptance: folder of the report [acceptance]", show_default=False)
    ] = None,
    acceptance: Annotated[
        bool, typer.Option("--acceptance", help="check that all of it runs here, is right and fast, in ten minutes")
    ] = False,
    only: Annotated[
        str, typer.Option(help="parts of the acceptance: numbers,quantised,memory,speed,training,pipeline [all]")
    ] = "",
    device: Annotated[str, typer.Option(help="of the acceptance: auto, cpu, cuda")] = "auto",
    minutes: Annotated[float | None, typer.Option(help="of each part of the acceptance [its own]")] = None,
    proteins: Annotated[
        str | None, typer.Option(help="of the acceptance: FASTA or Parquet; unset: synthetic ones")
    ] = None,
    address: Annotated[str | None, typer.Option("--address", help="a Ray cluster to look at [RAY_ADDRESS]")] = None,
    dashboard: Annotated[list[str] | None, typer.Option("--dashboard", help="another dashboard's URL to try")] = None,
    as_json: JSON = False,
) -> None:
    """Versions, device, attention kernel, cores, memory, and open doors. Exit code 1 when something is not safe.

    With --address or RAY_ADDRESS also the nodes and GPUs of that cluster; exit code 1 when none can be joined.
    With --acceptance: every kernel and precision against plain transformers, speed, memory, training, the pipeline.
    """
    given = {"OUT": out, "--only": only, "--minutes": minutes, "--proteins": proteins}
    if acceptance:
        _accept(out or Path("acceptance"), only, device, minutes, proteins)
    if lonely := [name for name, value in given.items() if value]:
        raise ConfigError(f"{', '.join(lonely)}: only with --acceptance", where="doctor")
    if bad := [url for url in dashboard or () if not url.startswith(("http://", "https://"))]:
        raise ConfigError(f"--dashboard: {bad[0]} is not an http URL", where="doctor")
    facts = examine(address, dashboard or ())
    for fact in facts:
        print(f"{fact.name:<14}{fact.value}")
    for fact in facts:
        if fact.problem:
            print(f"{fact.sign}: {fact.name}: {fact.problem}")
    if as_json:
        print(json.dumps(to_json(facts)))
    if any(fact.problem for fact in facts):
        raise typer.Exit(UNSAFE)
