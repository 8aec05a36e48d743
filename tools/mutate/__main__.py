"""`python -m tools.mutate`: make small bugs in copies of this tree and see whether the tests notice them.

    python -m tools.mutate --aimed tools/mutate/aimed.toml
    python -m tools.mutate --drawn 30 --seed 7 --files 'protea_ray/store/*.py' 'protea_ray/query/*.py'

A run that was stopped goes on where it was; a bug is tried again when its file or its tests have changed.

Libraries for this were looked at and left. mutmut 3 rewrites functions so that each calls one of its copies and changes
nothing outside them; cosmic-ray has one test command for all modules. Neither draws a sample or takes bugs written by
hand, and the tests that belong to one file take seconds here where the whole suite takes minutes.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue

from tools.mutate import report
from tools.mutate.bugs import Bug, aimed, drawn, read_tests
from tools.mutate.report import Result
from tools.mutate.trial import MISSED, UNCLEAR, Copy, Outcome

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the bugs that were asked for; returns 1 when one was not noticed or is unclear."""
    asked = _parser().parse_args(arguments)
    bugs = _chosen(asked)
    if asked.list:
        print("\n".join(f"{bug.id} {bug.file}:{bug.line} {bug.kind}: {bug.old}  ->  {bug.new}" for bug in bugs))
        return 0
    earlier = report.read(asked.results)
    keys = {bug.id: (bug.id, report.state(ROOT, bug)) for bug in bugs}
    left = [bug for bug in bugs if keys[bug.id] not in earlier]
    print(f"{len(bugs)} bugs, {len(bugs) - len(left)} of them tried before", file=sys.stderr)
    asked.results.parent.mkdir(parents=True, exist_ok=True)
    made = _tried(left, asked.jobs, asked.results)
    results = [made.get(bug.id) or earlier[keys[bug.id]] for bug in bugs]
    equivalent = report.read_equivalent(HERE / "equivalent.toml")
    counted = report.counts(results, equivalent)
    print(report.markdown(results, equivalent))
    if asked.json:
        asked.json.write_text(json.dumps({"counts": counted, "bugs": [asdict(r) for r in results]}, indent=1))
    return 1 if counted[MISSED] or counted[UNCLEAR] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description="Small bugs, and who notices them.")
    parser.add_argument("--drawn", metavar="N", type=int, default=0, help="draw N bugs by chance")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of the draw")
    parser.add_argument("--files", nargs="+", default=["protea_ray/**/*.py"], help="patterns of files to draw from")
    parser.add_argument("--aimed", metavar="FILE", type=Path, help="bugs written by hand")
    parser.add_argument("--only", metavar="ID", nargs="+", help="of these bugs, those with these ids")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="copies of the tree that work side by side")
    parser.add_argument("--results", metavar="FILE", type=Path, default=ROOT / "build" / "mutate.jsonl", help="kept")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write counts and bugs as JSON")
    parser.add_argument("--list", action="store_true", help="show the bugs and try none")
    return parser


def _chosen(asked: argparse.Namespace) -> list[Bug]:
    tests = read_tests(HERE / "tests.toml")
    files = [str(path.relative_to(ROOT)) for pattern in asked.files for path in ROOT.glob(pattern)]
    bugs = aimed(ROOT, asked.aimed, tests) if asked.aimed else []
    bugs += drawn(ROOT, sorted(set(files)), asked.drawn, asked.seed, tests) if asked.drawn else []
    return [bug for bug in {bug.id: bug for bug in bugs}.values() if not asked.only or bug.id in asked.only]


def _tried(bugs: Sequence[Bug], jobs: int, file: Path) -> dict[str, Result]:
    """Try bugs, those with the same tests one after the other in one copy; returns results by id, kept as they come."""
    if not bugs:
        return {}
    groups: dict[tuple[str, ...], list[Bug]] = defaultdict(list)
    for bug in bugs:
        groups[bug.tests].append(bug)
    largest_first = sorted(groups.values(), key=len, reverse=True)
    with _copies(jobs) as copies, ThreadPoolExecutor(jobs) as pool:
        free: SimpleQueue[Copy] = SimpleQueue()
        for copy in copies:
            free.put(copy)
        try:
            results = pool.map(lambda group: _try_group(free, group, file), largest_first)
            return {result.id: result for group in results for result in group}
        except BaseException:  # Ctrl-C: else the pool would wait for every group
            pool.shutdown(wait=False, cancel_futures=True)
            for copy in copies:
                copy.stop()
            raise


@contextmanager
def _copies(count: int) -> Iterator[list[Copy]]:
    """So many copies of the tree in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="mutate-", ignore_cleanup_errors=True) as folder:
        copies = [Copy.of(ROOT, Path(folder).resolve() / f"copy{number}") for number in range(count)]
        if not all(copy.imports_itself() for copy in copies):
            raise SystemExit("the package is imported from elsewhere than the copy of the tree; nothing was tried")
        yield copies


def _try_group(free: SimpleQueue[Copy], bugs: Sequence[Bug], file: Path) -> list[Result]:
    """Run the tests of a group once without a bug, then with each. Where they do not pass all bugs are unclear."""
    copy = free.get()
    try:
        unchanged = copy.run(bugs[0].tests)
        if unchanged.code == 0:
            return [_result(bug, *copy.try_bug(bug, unchanged.seconds), file) for bug in bugs]
        why = replace(unchanged, first=f"without any bug: {unchanged.first}")
        return [_result(bug, UNCLEAR, why, file) for bug in bugs]
    finally:
        free.put(copy)


def _result(bug: Bug, verdict: str, outcome: Outcome, file: Path) -> Result:
    """The result of one bug. One that is clear is written into `file` and not tried again."""
    fields = {name: getattr(bug, name) for name in ("id", "file", "line", "kind", "old", "new", "meaning", "tests")}
    taken, digest = round(outcome.seconds, 1), report.state(ROOT, bug)
    result = Result(**fields, verdict=verdict, first=outcome.first, seconds=taken, state=digest)
    if verdict != UNCLEAR:
        report.append(file, result)
    print(f"{verdict}: {bug.file}:{bug.line} {bug.old}  ->  {bug.new}", file=sys.stderr, flush=True)
    return result


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the tests that run are ended, and the copies removed
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on where this one was")
