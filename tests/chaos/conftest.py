"""Fixtures of the suite, and its report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.rows import Ledger
from tests.chaos.runs import Bench, Head

_LEDGER = pytest.StashKey[Ledger]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEDGER] = Ledger()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `-m chaos` only the short part runs: all of it takes about a quarter of an hour."""
    if "chaos" in str(config.getoption("markexpr")):
        return
    long = [item for item in items if item.get_closest_marker("chaos") and not item.get_closest_marker("chaos_short")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    """Where tests write their row."""
    return pytestconfig.stash[_LEDGER]


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    report = yield
    mark = item.get_closest_marker("row")
    if mark is not None and not report.passed:
        ledger = item.config.stash[_LEDGER]
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            ledger.missing.setdefault(mark.args[0], []).append(reason.removeprefix("Skipped: "))
        else:
            ledger.failed.setdefault(mark.args[0], []).append(item.name)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    ledger = config.stash[_LEDGER]
    if not (ledger.rows or ledger.missing or ledger.failed):
        return
    terminalreporter.section("chaos: what was broken, how often, and what was found")
    for line in ledger.lines():
        terminalreporter.write_line(line)
