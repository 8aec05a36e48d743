"""Drivers as real processes on one machine: started, killed, run again, and what they leave compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import lance
import numpy as np
from lance.file import LanceFileReader

from protea_ray.sequences.synth import write_fasta
from protea_ray.testing import random_checkpoint as checkpoints
from tests import commands, stores
from tests.chaos.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
ANSWER = "answer: "  # as in head.py, which must not be imported here: it brings Ray
INJECT = Path(__file__).resolve().parent / "inject"
PROTEINS, REJECTS = 160, 4
BAD = "".join(f">bad{i}\nMK-{'A' * i}\n" for i in range(REJECTS))  # a gap is no residue
UNITS = ("--set", "run.unit_seconds=0.05", "--set", "run.window_proteins=64", "--set", "run.commit_units=3")

PATIENCE = 500  # seconds for one driver: a busy machine is no failure, pytest's own limit is 600
_KEEP_IDLE = {"RAY_idle_worker_killing_time_threshold_ms": "600000"}  # a resume then needs 3 new processes, not 8


@dataclass(frozen=True)
class Bench:
    """What all runs of the suite share."""

    folder: Path
    proteins: Path
    model: Path

    @classmethod
    def build(cls, folder: Path) -> Bench:
        """160 synthetic proteins and four records that are none, and a random ESM-2."""
        fasta = folder / "proteins.fasta"
        write_fasta(fasta, PROTEINS, seed=11)
        with fasta.open("a") as file:
            file.write(BAD)
        return cls(folder, fasta, checkpoints.build("esm2", folder / "esm2"))

    def arguments(self, store: Path | str, *more: object, inputs: Sequence[Path] = ()) -> list[str]:
        """The command that is started, killed, and given again unchanged."""
        given = inputs or [self.proteins]
        fixed = ["--model", self.model, "--store-dtype", "float32", *UNITS, *more, "--json"]
        return [str(a) for a in ("embed", *given, store, *fixed)]

    def environment(self, *, toy: bool, faults: Iterable[Fault] = (), **more: str) -> dict[str, str]:
        """Of a process that this suite arms; Ray workers inherit it from a head that was started with it."""
        paths = [str(INJECT), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PROTEA_RAY_CACHE": str(self.folder / ("toy-cache" if toy else "cache")),
            "CHAOS": json.dumps({"toy": toy, "faults": list(faults)}),
            "RAY_AUTH_MODE": "token",  # a driver that joins must say so; a head that we start does by itself
            **more,
        }


class Head:
    """A Ray head in a process of its own (see head.py), to run whole commands in or to start drivers at.

    With RAY_ADDRESS in its environment it joins that head instead, and is a driver that stays.
    """

    def __init__(self, bench: Bench, *, toy: bool = True, faults: Sequence[Fault] = (), **environment: str) -> None:
        self.bench, self._toy, self._more = bench, toy, environment
        self._environment = bench.environment(toy=toy, faults=faults, **_KEEP_IDLE, **environment)
        self.address = ""

    def __enter__(self) -> Self:
        self._log = (self.bench.folder / "head.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.head"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=ROOT,
            start_new_session=True, env=self._environment,
        )  # fmt: skip
        self.address = self._answer()["address"]
        return self

    def __exit__(self, *_: object) -> None:
        commands.kill_group(self._process)
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            pipe.close()  # type: ignore[union-attr]

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process that commands run in, and below it the cluster that it started."""
        return self._process

    @property
    def pid(self) -> int:
        """Of the process that commands run in."""
        return self._process.pid

    def run(self, *arguments: object) -> dict[str, Any]:
        """Run one command to its end; `code`, and `out` or `error`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(a) for a in arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def embed(self, store: Path, *more: object) -> dict[str, Any]:
        """The command of the bench, expected to succeed; its summary."""
        done = self.run(*self.bench.arguments(store, *more))
        assert done["code"] == 0, done
        return json.loads(done["out"].splitlines()[-1])

    def driver(
        self, store: Path | str, *more: object, faults: Sequence[Fault] = (), worker_faults: Sequence[Fault] = (),
        beside: Path | None = None, inputs: Sequence[Path] = (),
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start the same command as a process of its own on this head; its pid is in `<store>.pid`, or beside that."""
        joined = {**self._more, "RAY_ADDRESS": self.address}
        environment = self.bench.environment(toy=self._toy, faults=faults, **joined)
        if worker_faults:
            armed = {"CHAOS": json.dumps({"toy": self._toy, "faults": list(worker_faults)})}
            environment["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": {"env_vars": armed}})
        return start(self.bench.arguments(store, *more, inputs=inputs), beside or Path(store), environment)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        code = self._process.wait()
        raise AssertionError(f"the head ended with {code}: {(self.bench.folder / 'head.log').read_text()[-3000:]}")


def start(arguments: Sequence[str], store: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A driver in a process group of its own; what it says goes to `<store>.log`."""
    with store.with_suffix(".log").open("ab") as sink:
        process = subprocess.Popen(
            [*commands.PROGRAM, *arguments], stdout=sink, stderr=sink, start_new_session=True, env=environment
        )
    store.with_suffix(".pid").write_text(str(process.pid))
    return process


def finish(process: subprocess.Popen[bytes], store: Path, code: int = 0, seconds: float = PATIENCE) -> None:
    """Wait for a driver and expect its exit code; a driver that hangs is ended, with all it started."""
    try:
        found = process.wait(seconds)
    except subprocess.TimeoutExpired:
        commands.kill_group(process)
        raise AssertionError(f"still running after {seconds:.0f} s: {log_of(store)[-3000:]}") from None
    assert found == code, log_of(store)[-5000:]


def workers_of(process: subprocess.Popen[Any], title: str) -> list[int]:
    """Pids of the Ray workers below a driver whose title starts like this."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_text(errors="replace") if entry.name.isdigit() else ""
            if command.startswith(title) and process.pid in _ancestors(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        pid = int(status.rsplit(")", 1)[-1].split()[1])
        yield pid


def wait_for_rows(store: Path, rows: int, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Until the space holds so many committed rows."""
    end = time.monotonic() + seconds
    while committed(store) < rows:
        assert process.poll() is None, log_of(store)
        assert time.monotonic() < end, f"{committed(store)} of {rows} rows after {seconds} s: {log_of(store)}"
        time.sleep(0.05)


def committed(store: Path) -> int:
    """Rows of the space right now; 0 while there is none."""
    try:
        return lance.dataset(str(stores.space(store))).count_rows()
    except (ValueError, OSError):
        return 0


def log_of(store: Path) -> str:
    """What drivers at this store said."""
    return store.with_suffix(".log").read_text(errors="replace")


def assert_same(store: Path, undisturbed: Path, atol: float = 0.0) -> int:
    """Every key once, every vector that of the undisturbed run, every record and reject once; returns the keys."""
    found, expected = stores.vectors(store), stores.vectors(undisturbed)
    assert found.keys() == expected.keys(), f"{len(found)} of {len(expected)} keys"
    for key, vector in expected.items():
        np.testing.assert_allclose(found[key], vector, atol=atol)
    for table, columns in (("proteins", ["id", "key", "line"]), ("rejects", ["id", "line", "reason", "stage"])):
        assert _records(store, table, columns) == _records(undisturbed, table, columns), table
    return len(found)


def _records(store: Path, table: str, columns: list[str]) -> list[str]:
    rows = lance.dataset(str(store / f"{table}.lance")).to_table(columns=columns).to_pylist()
    return sorted(json.dumps(row, default=str) for row in rows)


def redone(table: Path) -> int:
    """Rows that were computed and written to a table but are in no commit: work that had to be done again.

    Counted from the files on disk, not from what the package says.
    """
    named = {Path(f.path).name for part in lance.dataset(str(table)).get_fragments() for f in part.data_files()}
    left = [p for p in sorted((table / "data").glob("*.lance")) if p.name not in named]
    return sum(_file_rows(p) for p in left)


def _file_rows(path: Path) -> int:
    try:
        return LanceFileReader(str(path)).metadata().num_rows
    except (OSError, ValueError):
        return 0  # cut off while it was written: nothing was finished


def largest_unit(table: Path) -> int:
    """Rows of the largest unit in a space."""
    counts = lance.dataset(str(table)).to_table(columns=["unit"])["unit"].value_counts().to_pylist()
    return max(c["counts"] for c in counts)
