"""`python -m tools.house`: figures of the source tree as a Markdown table, or as JSON.

    python -m tools.house --against 40497ec --letters   # this tree beside an earlier one
    python -m tools.house --junit build/junit.xml       # and where the seconds of a test run went

What is counted is defined in source.py (sizes, imports, names) and loaded.py (files loaded; files that letters pass).
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.house.loaded import ENTRIES, letters, loaded
from tools.house.source import figures, read_modules
from tools.house.suite import Suite, read_suite

ROOT = Path(__file__).resolve().parents[2]
Figures = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures that were asked for."""
    asked = _parser().parse_args(arguments)
    trees = {"now": measure(ROOT, running=not asked.static, trace=asked.letters)}
    if asked.against:
        with tempfile.TemporaryDirectory() as folder:
            unpack(asked.against, Path(folder))
            trees = {asked.against: measure(Path(folder), running=not asked.static, trace=asked.letters), **trees}
    suite = read_suite(asked.junit) if asked.junit else None
    if asked.json:
        print(json.dumps({"trees": trees, "tests": asdict(suite) if suite else None}))
        return
    print("\n".join(table(trees)))
    if suite:
        print("\n".join(["", *suite_tables(suite)]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.house", description="Figures of the source tree.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--against", metavar="REV", help="the same figures of another git revision, side by side")
    parser.add_argument("--static", action="store_true", help="do not import the package to count loaded files")
    parser.add_argument("--letters", action="store_true", help="embed one protein and count the files its letters pass")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="also show seconds of tests from a JUnit file")
    return parser


def unpack(revision: str, folder: Path) -> None:
    """Put the tree of a git revision into `folder`; raises CalledProcessError for a revision that is not there."""
    packed = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def measure(root: Path, *, running: bool, trace: bool) -> dict[str, Any]:
    """All figures of the tree under `root`; `running` imports it, `trace` embeds a protein with it."""
    found: dict[str, Any] = figures(read_modules(root))
    if running:
        found |= {f"loaded_for_{entry}": loaded(root, entry) for entry in ENTRIES}
    if trace:
        with tempfile.TemporaryDirectory() as work:
            files = letters(root, Path(work))
        found |= {"files_letters_pass": len(files), "letters_pass": " ".join(files)}
    return found


def table(trees: Mapping[str, Figures]) -> Iterator[str]:
    """A Markdown table with a row for each figure and a column for each tree."""
    yield f"| figure | {' | '.join(trees)} |"
    yield f"|---|{'---|' * len(trees)}"
    for name in next(iter(trees.values())):
        yield f"| {name.replace('_', ' ')} | {' | '.join(_shown(tree[name]) for tree in trees.values())} |"


def suite_tables(suite: Suite) -> Iterator[str]:
    """Two Markdown tables: seconds by folder, and the slowest tests."""
    yield from (f"{suite.tests} tests, {suite.seconds:,.0f} s", "", "| folder | seconds |", "|---|---|")
    yield from (f"| {folder} | {seconds:,.1f} |" for folder, seconds in suite.folders)
    yield from ("", "| slowest tests | seconds |", "|---|---|")
    yield from (f"| {test} | {seconds:,.1f} |" for test, seconds in suite.slowest)


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


if __name__ == "__main__":
    main()
