"""Fixtures of the suite, and its report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import runs
from tests.chaos.rows import Ledger, Row
from tests.chaos.runs import Bench, Head

_WRITTEN = pytest.StashKey[Ledger]()
FOUND = "chaos"
LONGEST = ("test_poison", "test_s3", "test_soak", "test_two_drivers", "test_worker_kills")  # a minute or more each


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Summary(), "chaos-summary")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `-m chaos` only the short part runs: all of it takes about ten minutes, the longest first, so that
    two processes end together."""
    if "chaos" in str(config.getoption("markexpr")):
        items.sort(key=lambda item: item.path.stem not in LONGEST)
        return
    long = [item for item in items if item.get_closest_marker("chaos") and not item.get_closest_marker("chaos_short")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """Where a test writes its row."""
    return request.node.stash.setdefault(_WRITTEN, Ledger())


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Proteins, a small checkpoint and a cache of its own: toy probes must not meet real ones."""
    return Bench.build(tmp_path_factory.mktemp("chaos"))


@pytest.fixture(scope="session")
def head(bench: Bench) -> Iterator[Head]:
    """One Ray head with the toy encoder for all rows that are about the driver or the store."""
    with Head(bench) as running:
        yield running


@pytest.fixture(scope="session")
def reference(bench: Bench, head: Head) -> Path:
    """The store of an undisturbed run with the toy encoder."""
    store = bench.folder / "undisturbed"
    head.embed(store)
    return store


@pytest.fixture(scope="session")
def real_reference(bench: Bench) -> Path:
    """The store of an undisturbed run with the real encoder."""
    store = bench.folder / "undisturbed-real"
    runs.finish(runs.start(bench.arguments(store), store, bench.environment(toy=False)), store)
    return store


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Send what a test found along with its report, which also comes back from another process."""
    report = yield
    mark = item.get_closest_marker("row")
    if mark is not None and (report.when == "call" or not report.passed):
        rows = item.stash.get(_WRITTEN, Ledger()).rows
        report.user_properties = [*report.user_properties, (FOUND, {"row": mark.args[0], "rows": [*map(asdict, rows)]})]
    return report


class Summary:
    """Collects the rows of all tests, from this process or several, and prints a line for each row of the suite."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, found in report.user_properties:
            if name == FOUND and isinstance(found, dict):
                self._take(report, found)

    def _take(self, report: pytest.TestReport, found: dict[str, Any]) -> None:
        if report.passed:
            self._ledger.rows += [Row(**row) for row in found["rows"]]
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple | list) else str(report.longrepr)
            self._ledger.missing.setdefault(found["row"], []).append(reason.removeprefix("Skipped: "))
        else:
            self._ledger.failed.setdefault(found["row"], []).append(report.nodeid.rpartition("::")[2])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not (self._ledger.rows or self._ledger.missing or self._ledger.failed):
            return
        terminalreporter.section("chaos: what was broken, how often, and what was found")
        for line in self._ledger.lines():
            terminalreporter.write_line(line)
