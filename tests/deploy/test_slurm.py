"""deploy/slurm/embed.sbatch: read by shellcheck, and run with a `srun` that starts everything on this machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protea_ray.sequences.synth import write_fasta
from tests import stores
from tests.deploy.files import DEPLOY, ROOT, embedded
from tests.ray_head import programs

SCRIPT = DEPLOY / "slurm/embed.sbatch"
# its options end at the command; a signal reaches the command, as SLURM's own passes it on
SRUN = """#!/bin/bash
echo "srun $*" >> "$0.log"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
[[ "$*" == "show hostnames node[1-2]" ]] && printf 'node1\\nnode2\\n'
"""


def test_shellcheck_has_nothing_to_say() -> None:
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("no shellcheck here: pip install .[dev]")
    done = subprocess.run([found, SCRIPT], capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0


def test_what_slurm_reads_stands_before_the_first_command() -> None:
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))

    assert options
    assert max(options) < first  # SLURM ignores what stands after it
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", lines[number]) for number in options)
    assert "#SBATCH --ntasks-per-node=1" in lines


def free_number() -> int:
    """A number of a job whose port, 20,000 and more, nobody listens on."""
    for number in range(os.getpid() % 9000, 10_000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", 20_000 + number)):
                return number
    raise AssertionError("every port is taken")


@contextmanager
def submitted(folder: Path, *arguments: str | Path, **changed: str) -> Iterator[subprocess.Popen[str]]:
    """The script as SLURM starts it, on two nodes that are this machine; killed at the end if it still runs."""
    tools = folder / "bin"
    tools.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    environment = {name: value for name, value in programs().items() if not name.startswith("RAY_")}
    environment |= {
        "PATH": f"{tools}{os.pathsep}{environment['PATH']}", "PYTHONPATH": str(ROOT), "SLURM_CPUS_PER_TASK": "2",
        "SLURM_JOB_ID": str(free_number()), "SLURM_JOB_NODELIST": "node[1-2]", "RAY_TMPDIR": str(folder), **changed,
    }  # fmt: skip
    command = ["bash", SCRIPT, *arguments, "--model", "small", "--device", "cpu"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(120)


def processes_of(folder: Path) -> list[str]:
    """Command lines of Ray's processes whose sockets and logs are in a folder."""
    found = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    return [line.replace(b"\0", b" ").decode(errors="replace") for line in found if f"{folder}/ray-".encode() in line]


@pytest.mark.slow
def test_a_job_embeds_on_its_nodes_and_leaves_no_process(folder: Path) -> None:
    write_fasta(folder / "p.fasta", 30, seed=2, max_length=60)

    with submitted(folder, folder / "p.fasta", folder / "store", "--json") as job:
        code = job.wait(500)

    log = (folder / "log").read_text()
    assert code == 0, log
    assert '"in": 30' in log
    assert "not all of" not in log  # both nodes joined
    assert embedded(folder / "store") == 30
    steps = (folder / "bin/srun.log").read_text()
    assert len(re.findall(r"--nodelist=node1 ray start --head", steps)) == 1
    assert len(re.findall(r"--nodelist=node2 ray start --address=", steps)) == 1
    assert processes_of(folder) == []


@pytest.mark.slow
def test_a_head_that_does_not_start_ends_the_job(folder: Path) -> None:
    long = folder / ("x" * 60)  # no room for the names of sockets
    with submitted(folder, "p.fasta", "store", RAY_TMPDIR=str(long)) as job:
        code = job.wait(200)

    assert code == 1
    assert (folder / "log").read_text().endswith("head did not start on node1; its own words are above\n")


@pytest.mark.slow
def test_a_job_whose_time_is_up_commits_and_ends(folder: Path) -> None:
    write_fasta(folder / "p.fasta", 20_000, seed=2, max_length=400)
    with submitted(folder, folder / "p.fasta", folder / "store", "--set", "run.commit_seconds=1") as job:
        deadline = time.monotonic() + 400
        while not re.search(r"\d %  ", (folder / "log").read_text()) and time.monotonic() < deadline:
            assert job.poll() is None, (folder / "log").read_text()
            time.sleep(1)
        job.send_signal(signal.SIGTERM)
        code = job.wait(120)

    assert code == 130, (folder / "log").read_text()
    assert 0 < len(stores.vectors(folder / "store")) < 20_000
    assert processes_of(folder) == []
