"""Finished units become visible in groups, each unit once, whatever comes in the middle of a commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.errors import CommitError, LeaseLostError, StoreError
from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.store.commit import GroupCommitter
from protea_ray.store.tables import count_rows, ensure_table, open_table
from tests.clock import Clock
from tests.store import build
from tests.store.test_commit import five


@pytest.fixture
def uri(tmp_path: Path) -> str:
    made = f"{tmp_path}/proteins.lance"
    ensure_table(made, PROTEINS_SCHEMA)
    return made


def test_units_are_committed_in_groups(uri: str) -> None:
    clock = Clock()
    group = GroupCommitter(build.writer(), uri, max_units=3, max_seconds=30, clock=clock)
    version = open_table(uri).version
    clock.now = 100.0  # start-up took long; nothing has waited yet
    for unit in range(4):
        group.add(f"u{unit}", five(uri, 5 * unit), 5)
    assert (group.commits, group.committed_rows, count_rows(uri)) == (1, 15, 15)
    clock.now = 129.0
    group.add("u4", five(uri, 20), 5)
    assert group.commits == 1
    clock.now = 130.0
    group.add("u5", five(uri, 25), 5)
    assert (group.commits, group.committed_rows) == (2, 30)
    group.add("rejected whole", [], 0)
    group.flush()
    assert open_table(uri).version == version + 2
    assert count_rows(uri) == 30


def test_the_clock_of_a_group_is_that_of_its_first_unit(uri: str) -> None:
    clock = Clock()
    group = GroupCommitter(build.writer(), uri, max_units=100, max_seconds=30, clock=clock)
    for unit, clock.now in enumerate((0.0, 14.0, 29.5)):
        group.add(f"u{unit}", five(uri, 5 * unit), 5)
        assert group.commits == 0
    clock.now = 30.0
    group.add("rejected whole", [], 0)  # brings no rows, but the others have waited long enough
    assert (group.commits, count_rows(uri)) == (1, 15)
    clock.now = 59.0
    group.add("u4", five(uri, 20), 5)
    assert group.commits == 1  # its own 30 s begin now
    clock.now = 89.0
    group.add("u5", five(uri, 25), 5)
    assert (group.commits, count_rows(uri)) == (2, 25)


def test_a_unit_without_rows_is_known_and_makes_no_version(uri: str) -> None:
    group = GroupCommitter(build.writer(), uri, max_units=1)
    version = open_table(uri).version
    group.add("rejected whole", [], 0)
    group.flush()
    assert (open_table(uri).version, group.commits) == (version, 0)
    with pytest.raises(StoreError, match="finished twice"):
        group.add("rejected whole", [], 0)


def test_a_unit_twice_is_refused(uri: str) -> None:
    group = GroupCommitter(build.writer(), uri)
    group.add("u1", five(uri), 5)
    with pytest.raises(StoreError, match="u1 was finished twice"):
        group.add("u1", five(uri), 5)
    group.flush()
    assert count_rows(uri) == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, OSError("x")])
def test_an_interrupt_in_the_middle_of_a_commit_leaves_the_outcome_open(
    uri: str, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The put has landed when Ctrl-C comes: a second flush of the same fragments would store them twice."""
    writer = build.writer()
    real = writer.append

    def interrupted(uri: str, fragments: list[str]) -> int:
        real(uri, fragments)
        raise error

    monkeypatch.setattr(writer, "append", interrupted)
    group = GroupCommitter(writer, uri)
    group.add("u1", five(uri), 5)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        group.flush()
    monkeypatch.undo()
    with pytest.raises(CommitError, match="did not finish"):
        group.flush()
    with pytest.raises(CommitError, match="did not finish"):
        GroupCommitter.add(group, "u2", five(uri, 5), 5)
        group.flush()
    assert count_rows(uri) == 5
    assert group.committed_rows == 0


def test_after_a_failed_commit_nothing_is_guessed(uri: str) -> None:
    answers = iter([LeaseLostError("gone")])

    def check() -> None:
        for error in answers:
            raise error

    group = GroupCommitter(build.writer(check), uri)
    group.add("u1", five(uri), 5)
    with pytest.raises(LeaseLostError):
        group.flush()
    with pytest.raises(CommitError, match="did not finish"):
        group.flush()
    assert count_rows(uri) == 0
