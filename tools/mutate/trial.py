"""Run tests in a copy of the tree with one bug in it, and say what came of it.

The copy lies in a temporary directory and holds what git does not ignore, so the tree of the person is never touched.
Its modules are compiled once, with the digest of their source in the compiled file: a bug is made and taken back within
one second, and Python's usual check by time would take the old code for the new one.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.mutate.bugs import Bug

NOTICED, TIME_OUT, MISSED, NO_IMPORT, UNCLEAR = "noticed", "time-out", "NOT NOTICED", "did not import", "unclear"
SLACK, FLOOR = 4, 60  # a bug may take so many times the seconds of the unchanged tests, and so many seconds at least
# zarr and anyio bring plugins that no test here uses; zarr's takes 2 s of every start
_PLUGINS = ("-p", "no:cacheprovider", "-p", "no:zarr", "-p", "no:anyio")
_OPTIONS = ("-x", "-q", "-m", "not slow", "--no-header", "--tb=no", *_PLUGINS)


@dataclass(frozen=True)
class Outcome:
    """What came of one run of tests: pytest's exit code, None after the time limit; what failed first; seconds."""

    code: int | None
    first: str
    seconds: float


@dataclass
class Copy:
    """A copy of a tree that tests run in, one bug at a time. After `stop` it runs none any more."""

    root: Path
    is_stopped: bool = False
    _running: subprocess.Popen[str] | None = None

    @classmethod
    def of(cls, tree: Path, folder: Path) -> Copy:
        """Copy every file of `tree` that git does not ignore into `folder`, and compile it."""
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=tree, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, listing.split("\0")):
            if (tree / name).is_file() and not (tree / name).is_symlink():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree / name, folder / name)
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(str(folder), quiet=2, invalidation_mode=mode)
        return cls(folder)

    def run(self, tests: Sequence[str], limit: float | None = None) -> Outcome:
        """Run tests that are not slow until the first fails; kills them all after `limit` seconds."""
        if self.is_stopped:
            return Outcome(-signal.SIGTERM, "stopped", 0.0)
        scratch = self.root.parent / f"{self.root.name}-tmp"
        command = [sys.executable, "-m", "pytest", *_OPTIONS, f"--basetemp={scratch}", *tests]
        started = time.monotonic()
        with subprocess.Popen(
            command, cwd=self.root, env=self._environment(), text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            self._running = process
            try:
                said, code = process.communicate(timeout=limit)[0], process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                said, code = process.communicate()[0], None
            self._running = None
        shutil.rmtree(scratch, ignore_errors=True)
        if self.is_stopped:  # a test may take the signal for its own and fail, which says nothing of the bug
            return Outcome(-signal.SIGTERM, "stopped", 0.0)
        return Outcome(code, _first_failure(said), time.monotonic() - started)

    def stop(self) -> None:
        """End the tests that run; they are in a session of their own, which Ctrl-C does not reach."""
        self.is_stopped = True
        if self._running is not None:
            os.killpg(self._running.pid, signal.SIGTERM)

    def try_bug(self, bug: Bug, seconds: float) -> tuple[str, Outcome]:
        """Make a bug, run its tests, take it back. `seconds` is what the tests took without it.

        A time-out counts only if the tests without the bug still pass within the same limit.
        """
        limit = max(FLOOR, SLACK * seconds)
        path = self.root / bug.file
        text = path.read_text(encoding="utf-8")
        try:
            path.write_text(bug.made_in(text), encoding="utf-8")
            outcome = self.run(bug.tests, limit)
        finally:
            path.write_text(text, encoding="utf-8")
        if outcome.code is None and self.run(bug.tests, limit).code != 0:
            return UNCLEAR, outcome
        return verdict(outcome), outcome

    def _environment(self) -> dict[str, str]:
        """The environment with this copy before any installed package."""
        return os.environ | {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}

    def imports_itself(self) -> bool:
        """Whether Python in this copy takes the package from the copy and from nowhere else."""
        code = "import protea_ray; print(protea_ray.__file__)"
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=self.root, env=self._environment(), capture_output=True, text=True, check=True
        )
        return Path(done.stdout.strip()).is_relative_to(self.root)


def verdict(outcome: Outcome) -> str:
    """What pytest's exit code says of a bug: 0 all passed, 1 one failed, 2 and 4 tests could not be imported."""
    verdicts = {None: TIME_OUT, 0: MISSED, 1: NOTICED, 2: NO_IMPORT, 4: NO_IMPORT}
    return verdicts.get(outcome.code, UNCLEAR)


def _first_failure(said: str) -> str:
    """The first test that pytest's summary names, or its last line."""
    match = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    lines = said.strip().splitlines()
    return match.group(1) if match else (lines[-1] if lines else "")
