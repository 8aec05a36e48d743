"""`python -m benchmarks.first_vector`: from the command to the first vector, as a share of the least possible.

The least is what no run can do without: import torch, import Ray, start Ray, load the model, one after the other in a
fresh process. A run is `protea-ray embed` of ten proteins with a warm cache, from the start of its process. Both, and
an earlier revision where one is named, take turns, so that whatever else the machine does hits them alike. Medians and
their ratio are printed; of an earlier revision, which does not say when its process began, the end. Afterwards two runs
at once, which share the cores, are set beside one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

HERE = Path(__file__).resolve().parents[1]
PROTEINS = 10
NICENESS = "RAY_worker_niceness"  # Ray's 15 would measure how much the rest of the machine does
NOT_LEAST = "import protea_ray and Ray Data"  # measured beside the least, and no part of it
LEAST = """
import json, time
began = time.perf_counter(); marks = {}
def mark(name):
    global began
    now = time.perf_counter(); marks[name] = now - began; began = now
import torch; mark("import torch")
import ray; mark("import ray")
from protea_ray.config.run import RunOptions
from protea_ray.cluster.connect import connect; mark("import protea_ray and Ray Data")
connect(RunOptions()); mark("start Ray")
from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.resolution import resolve
from protea_ray.models.checkpoint import open_checkpoint
from protea_ray.pipeline.worker import EncoderSpec
found = open_checkpoint("small"); recipe = resolve(EmbeddingConfig(model="small"), found.facts, "cpu", None)
spec = EncoderSpec(found.model, found.revision, found.path, __import__("platform").node(), found.files,
                   found.facts.family, "cpu", 1536)
encoder = spec.load([recipe]); mark("load the model")
next(iter(encoder.embed(["MKTAYIAKQR"]))); mark("embed one protein")
print(json.dumps(marks))
"""


@dataclass(frozen=True)
class Measured:
    """One run: seconds from the start of its process to its first vector and to its end, and its stages.

    A revision that does not say when its process began has no first vector.
    """

    first: float | None
    total: float
    stages: Mapping[str, float]


@contextmanager
def checked_out(revision: str | None) -> Iterator[Path]:
    """A folder with the code of a revision, for as long as the block; this code's own folder for None."""
    if revision is None:
        yield HERE
        return
    with tempfile.TemporaryDirectory(prefix="first-vector-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "-C", HERE, "worktree", "add", "-q", "--detach", tree, revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "-C", HERE, "worktree", "remove", "--force", tree], check=True)


def environment(code: Path) -> dict[str, str]:
    """This environment with `code` first on Python's path."""
    return os.environ | {"PYTHONPATH": str(code), NICENESS: os.environ.get(NICENESS, "0")}


def start_run(code: Path, fasta: Path, store: Path) -> tuple[subprocess.Popen[str], float]:
    """Start `protea-ray embed`, and the moment in which its process began.

    It runs in the folder of its code, because `python -m` looks there before it looks at PYTHONPATH.
    """
    command = [sys.executable, "-m", "protea_ray.cli.main", "embed", str(fasta), str(store), "--json", "--quiet"]
    began = time.time()
    process = subprocess.Popen(
        command, cwd=code, env=environment(code), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return process, began


def ended(process: subprocess.Popen[str], began: float) -> Measured:
    """Wait for a run; its first vector is counted from the start of its process."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a run ended with {process.returncode}: {said}")
    total, facts = time.time() - began, json.loads(said.strip().splitlines()[-1])
    stages = {stage["name"]: stage["seconds"] for stage in facts.get("stages", ())}
    return Measured(facts.get("first_vector_seconds"), total, stages)


def least(code: Path) -> dict[str, float]:
    """The parts that no run can do without, in seconds."""
    done = subprocess.run(
        [sys.executable, "-c", LEAST], env=environment(code), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def medians(found: list[Mapping[str, float]]) -> dict[str, float]:
    """The median of each name over all measurements."""
    return {name: statistics.median(one.get(name, 0.0) for one in found) for name in found[0]}


def main(
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="measurements of each")] = 3,
    against: Annotated[str | None, typer.Option("--against", help="an earlier revision, measured in turns")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="write the figures there too")] = None,
) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="first-vector-") as name, checked_out(against) as older:
        folder = Path(name)
        fasta = _ten_proteins(folder)
        ended(*start_run(HERE, fasta, folder / "warm"))  # calibration and compiled modules are there afterwards
        if against:
            ended(*start_run(older, fasta, folder / "warm-older"))
        parts: list[Mapping[str, float]] = []
        runs: dict[str, list[Measured]] = {"now": []} | ({str(against): []} if against else {})
        for number in range(rounds):
            parts.append(least(HERE))
            for which, code in {"now": HERE, **({str(against): older} if against else {})}.items():
                runs[which].append(ended(*start_run(code, fasta, folder / f"{which}-{number}".replace("/", "_"))))
        together = [_two_at_once(fasta, folder / f"two-{number}") for number in range(rounds)]
    figures = _figures(parts, runs, together)
    _print(figures)
    if out:
        out.write_text(json.dumps(figures, indent=1) + "\n")


def _ten_proteins(folder: Path) -> Path:
    records = (HERE / "examples" / "families.fasta").read_text().split(">")[1 : PROTEINS + 1]
    fasta = folder / "ten.fasta"
    fasta.write_text("".join(f">{record}" for record in records))
    return fasta


def _two_at_once(fasta: Path, store: Path) -> float:
    """Seconds until both of two runs have their first vector."""
    started = [start_run(HERE, fasta, store.with_name(f"{store.name}-{side}")) for side in "ab"]
    return max(_known(ended(*one)) for one in started)


def _known(run: Measured) -> float:
    """The first vector of a run of this revision, which says it."""
    if run.first is None:
        raise SystemExit("a run did not say when its first vector was there")
    return run.first


def _figures(
    parts: list[Mapping[str, float]], runs: Mapping[str, list[Measured]], together: list[float]
) -> dict[str, Any]:
    floor = medians(parts)
    beside = floor.pop(NOT_LEAST)
    first = statistics.median(map(_known, runs["now"]))
    return {
        "least": {**floor, "sum": sum(floor.values())},
        NOT_LEAST: beside,
        "first vector": first,
        "share of the least": first / sum(floor.values()),
        "end": {which: statistics.median(run.total for run in found) for which, found in runs.items()},
        "stages": medians([run.stages for run in runs["now"]]),
        "two at once": statistics.median(together),
        "load": os.getloadavg()[0],
    }


def _print(figures: Mapping[str, Any]) -> None:
    for name, value in figures.items():
        if not isinstance(value, dict):
            print(f"{name:32} {value:6.2f}")
            continue
        print(name)
        for part, seconds in value.items():
            print(f"  {part:30} {seconds:6.2f}")


if __name__ == "__main__":
    typer.run(main)
