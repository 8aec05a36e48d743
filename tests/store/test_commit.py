"""Commits land exactly once, whatever the store answers and whoever comes in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pytest

from protea_ray.errors import CommitError, LeaseLostError
from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.store import commit as commits
from protea_ray.store import retries
from protea_ray.store.commit import fence, write_fragments
from protea_ray.store.tables import count_rows, ensure_table, open_table
from tests.store import build


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0, 0.0))
    found = f"{tmp_path}/proteins.lance"
    ensure_table(found, PROTEINS_SCHEMA)
    return found


def five(uri: str, start: int = 0) -> list[str]:
    return write_fragments(uri, build.proteins(range(start, start + 5)), PROTEINS_SCHEMA)


def ids(uri: str) -> list[str]:
    return sorted(open_table(uri).to_table(columns=["id"])["id"].to_pylist())


Commit = Callable[..., Any]


def patch_commit(monkeypatch: pytest.MonkeyPatch, made: Callable[[Commit], Commit]) -> None:
    monkeypatch.setattr(lance.LanceDataset, "commit", staticmethod(made(lance.LanceDataset.commit)))


def test_every_second_acknowledgement_lost_with_a_compaction_in_between(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def losing(real: Commit) -> Commit:
        def commit(*args: Any, **kwargs: Any) -> Any:
            done = real(*args, **kwargs)
            calls.append(1)
            if len(calls) % 2:
                open_table(uri).optimize.compact_files()
                raise OSError("connection reset by peer")
            return done

        return commit

    patch_commit(monkeypatch, losing)
    for start in range(0, 60, 5):
        build.writer().append(uri, five(uri, start))
    assert ids(uri) == [f"P{n:05d}" for n in range(60)]


def test_a_commit_that_was_refused_is_made_again(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def refusing(real: Commit) -> Commit:
        def commit(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) == 1:
                raise OSError("503 slow down")
            return real(*args, **kwargs)

        return commit

    patch_commit(monkeypatch, refusing)
    build.writer().append(uri, five(uri))
    assert count_rows(uri) == 5


def test_a_put_that_lands_late_is_found(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer times out, the look-up finds nothing, and only then does the store apply it."""
    late: list[tuple[Any, Any]] = []

    def delaying(real: Commit) -> Commit:
        def commit(*args: Any, **kwargs: Any) -> Any:
            if not late:
                late.append((args, kwargs))
                raise OSError("timed out")
            if len(late) == 1:
                late.append((None, None))
                real(*late[0][0], **late[0][1])
            return real(*args, **kwargs)

        return commit

    patch_commit(monkeypatch, delaying)
    build.writer().append(uri, five(uri))
    assert ids(uri) == [f"P{n:05d}" for n in range(5)]


def test_a_put_that_lands_just_before_the_fence_is_found(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up finds nothing, the put lands, the fence is taken: without another look it would be there twice."""
    real, late, fenced = lance.LanceDataset.commit, [], []

    def timing_out(*args: Any, **kwargs: Any) -> Any:
        if not late:
            late.append((args, kwargs))
            raise OSError("timed out")
        return real(*args, **kwargs)

    def late_fence(uri: str) -> int:
        if not fenced:
            fenced.append(1)
            real(*late[0][0], **late[0][1])
        return fence(uri)

    patch_commit(monkeypatch, lambda _: timing_out)
    monkeypatch.setattr(commits, "fence", late_fence)
    build.writer().append(uri, five(uri))
    assert fenced
    assert ids(uri) == [f"P{n:05d}" for n in range(5)]


def test_what_another_program_appends_meanwhile_does_not_hide_a_commit(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def overtaken(real: Commit) -> Commit:
        def commit(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) > 1:
                return real(*args, **kwargs)
            real(*args, **kwargs)
            for start in (100, 200):
                lance.write_dataset(build.proteins(range(start, start + 2)), uri, mode="append")
            raise OSError("connection reset by peer")

        return commit

    fragments = five(uri)
    version = open_table(uri).version
    patch_commit(monkeypatch, overtaken)
    assert build.writer().append(uri, fragments) == version + 1
    assert count_rows(uri) == 9
    assert len(calls) == 1  # neither a fence nor another commit


def test_a_writer_asks_its_lease_after_reading_the_version_and_again_before_a_fence(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(commits, "fence", lambda uri: calls.append("fence") or fence(uri))

    def failing(real: Commit) -> Commit:
        def commit(*args: Any, **kwargs: Any) -> Any:
            if "commit" not in calls:
                calls.append("commit")
                raise OSError("503")
            return real(*args, **kwargs)

        return commit

    fragments = five(uri)
    patch_commit(monkeypatch, failing)
    build.writer(lambda: calls.append("check")).append(uri, fragments)
    assert calls == ["check", "commit", "check", "fence", "check"]


def test_an_outcome_that_cannot_be_read_is_said_to_be_open(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any, **__: Any) -> Any:
        raise OSError("Generic S3 error: timed out")

    fragments = five(uri)
    patch_commit(monkeypatch, lambda _: down)
    monkeypatch.setattr(commits, "landed_version", down)
    with pytest.raises(CommitError, match="does not answer whether it took a commit"):
        build.writer().append(uri, fragments)


def test_a_removal_whose_answer_was_lost_counts_what_it_removed(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, options = lance.LanceDataset.delete, []

    def losing(self: lance.LanceDataset, *args: Any, **kwargs: Any) -> Any:
        done = real(self, *args, **kwargs)
        options.append(kwargs)
        if len(options) == 1:
            raise OSError("connection reset by peer")
        return done

    build.writer().append(uri, five(uri))
    monkeypatch.setattr(lance.LanceDataset, "delete", losing)
    assert build.writer().remove(uri, "line > 3") == 3
    assert count_rows(uri) == 2
    assert options == [{"conflict_retries": 0}]  # Lance would move the removal past a fence


def test_a_store_that_takes_nothing_gives_one_clean_error(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fragments = five(uri)

    def full(_: Commit) -> Commit:
        def commit(*args: Any, **kwargs: Any) -> Any:
            raise OSError("No space left on device")

        return commit

    with monkeypatch.context() as patched:
        patch_commit(patched, full)
        with pytest.raises(CommitError, match=r"No space left on device.*run the same command again"):
            build.writer().append(uri, fragments)
    assert count_rows(uri) == 0
    build.writer().append(uri, fragments)
    assert count_rows(uri) == 5


def test_a_driver_replaced_between_reading_and_committing_is_fenced(uri: str) -> None:
    """An UpdateConfig by the new holder would not stop this append; a Project does."""
    calls = []

    def replaced() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise LeaseLostError("taken over")
        fence(uri)

    with pytest.raises(LeaseLostError):
        build.writer(replaced).append(uri, five(uri))
    assert count_rows(uri) == 0


def test_a_writer_that_lost_its_lease_removes_nothing(uri: str) -> None:
    def lost() -> None:
        raise LeaseLostError("taken over")

    build.writer().append(uri, five(uri))
    with pytest.raises(LeaseLostError):
        build.writer(lost).remove(uri, "id = 'P00001'")
    assert count_rows(uri) == 5
    assert build.writer().remove(uri, "id = 'P00001'") == 1
    assert count_rows(uri) == 4
    version = open_table(uri).version
    assert build.writer(lost).remove(uri, "id = 'P00001'") == 0  # no row, no version, nothing to ask
    assert open_table(uri).version == version


def test_a_fence_changes_nothing_that_a_reader_sees(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", with_residues=True)
    uri = location.table("esm2-00000001")
    before = open_table(uri)
    before.update_config({"someones": "setting"})
    version = fence(uri)
    after = open_table(uri)
    assert version == after.version == before.version + 1
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.config() == {"someones": "setting"}
    assert after.read_blobs("residues", indices=[3])[0][1] == before.read_blobs("residues", indices=[3])[0][1]
