"""Output that nobody reads or that cannot be written, and `jobs` as programs: exit codes and words, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import PROGRAM


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which $P is the program."""
    program = f"set -o pipefail; P='{' '.join(PROGRAM)}'; {line}"
    return subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("$P embed --help | true", (0, 141), ""),  # bash may read it all before it ends
        ("$P status nostore 2>&1 >/dev/null | head -1", (1,), ""),
        ("$P status nostore 2>&-", (1,), ""),
        ("$P synth x/y 2>/dev/full", (2,), ""),
        ("$P embed --help >/dev/full", (1,), "error: No space left on device"),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $P embed \u00f1.fasta s", (1,), "no such file"),
        ("PYTHONIOENCODING=ascii $P --help", (0,), ""),
    ],
)
def test_odd_streams(line: str, code: tuple[int, ...], words: str) -> None:
    done = shell(line)

    assert done.returncode in code, done.stderr
    assert words in done.stderr
    for word in ("Traceback", "BrokenPipe", "Exception ignored"):
        assert word not in done.stderr


@pytest.mark.parametrize("job", ["embed", "reembed", "train", "evaluate"])
def test_the_help_of_a_job_names_the_job_and_nothing_more(job: str) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", f"jobs.{job}", "--help"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: python -m jobs.{job} [OPTIONS] ")
    assert "\u2502" not in done.stdout  # no boxes
