"""What counts as a new checkpoint: whole, changed, and not changing any more."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.errors import ConfigError, LeaseHeldError
from protea_ray.pipeline import watch as watching
from protea_ray.pipeline.watch import NewCheckpoints, Seen, Taken, head_of, looker, newest_in, watch

COMMITS = ["1" * 40, "2" * 40]


def checkpoint(folder: Path, weights: bytes = b"w", at: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("config.json", b"{}"), ("model.safetensors", weights)):
        (folder / name).write_bytes(content)
        os.utime(folder / name, ns=(at, at))
    return folder


def test_the_newest_checkpoint_is_the_folder_itself_or_one_in_it(tmp_path: Path) -> None:
    assert newest_in(tmp_path / "not yet") is None
    assert newest_in(tmp_path) is None
    checkpoint(tmp_path / "step-10", at=20)
    checkpoint(tmp_path / "step-9", at=10)
    (tmp_path / "logs").mkdir()

    seen = newest_in(tmp_path)
    assert seen is not None
    assert seen.model == str(tmp_path / "step-10")
    checkpoint(tmp_path, at=30)
    itself = newest_in(tmp_path)
    assert itself is not None
    assert itself.model == str(tmp_path)


def test_an_adapter_beside_its_base_is_a_checkpoint_too(tmp_path: Path) -> None:
    checkpoint(tmp_path / "step-1", at=10)
    (tmp_path / "step-2").mkdir()
    (tmp_path / "step-2" / "protea_ray.json").write_text("{}")
    seen = newest_in(tmp_path)
    assert seen is not None and seen.model == str(tmp_path / "step-2")


@pytest.mark.parametrize("change", [{"weights": b"longer"}, {"at": 2}])
def test_any_change_of_a_file_is_another_stamp(tmp_path: Path, change: dict[str, Any]) -> None:
    before = newest_in(checkpoint(tmp_path))
    checkpoint(tmp_path, **change)
    after = newest_in(tmp_path)

    assert before is not None
    assert after is not None
    assert before.stamp != after.stamp


def test_a_folder_is_taken_after_two_equal_looks_and_only_once() -> None:
    checkpoints = NewCheckpoints()
    growing = [Seen("m", None, stamp, final=False) for stamp in ("10 bytes", "20 bytes", "20 bytes", "20 bytes")]

    assert [checkpoints.new(seen) for seen in growing] == [None, None, growing[2], growing[3]]
    checkpoints.done.add("20 bytes")
    assert checkpoints.new(growing[3]) is None
    assert checkpoints.new(None) is None


def test_a_commit_of_the_hub_is_whole_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []

    def model_info(self: Any, name: str, revision: str | None = None) -> Any:
        asked.append((name, revision))
        return SimpleNamespace(sha=COMMITS[0])

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)

    assert head_of("owner/name") == Seen("owner/name", COMMITS[0], f"owner/name@{COMMITS[0]}", final=True)
    assert looker("owner/name@tuned")() == head_of("owner/name")
    assert asked == [("owner/name", None), ("owner/name", "tuned"), ("owner/name", None)]


def test_a_hub_that_does_not_answer_is_asked_again_and_a_bad_name_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub

    def unreachable(self: Any, name: str, revision: str | None = None) -> Any:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    assert list(watch("s", "owner/name", {}, LineReporter(), interval=0, rounds=2)) == []
    first, *others = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d watching owner/name every 0 s \(Ctrl-C stops\)", first)
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line)[:35] for line in others] == [
        "cannot look for a checkpoint: OSErr"
    ] * 2
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="neither a directory nor a hub id"):
        head_of("owner/na me")


def test_each_new_commit_is_taken_and_a_busy_store_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks see commit 1, 1, 2, 2, 2; the store is busy at the third."""
    heads = iter([COMMITS[0], COMMITS[0], COMMITS[1], COMMITS[1], COMMITS[1]])
    monkeypatch.setattr(watching, "head_of", lambda source: Seen(source, sha := next(heads), sha, final=True))
    results: list[Any] = [None, LeaseHeldError("busy"), None]
    tried: list[tuple[str | None, bool]] = []

    def take(store: str, seen: Seen, *rest: Any) -> Taken:
        error = results[len(tried)]
        tried.append((seen.revision, error is not None))
        return Taken(seen, None, error)

    monkeypatch.setattr(watching, "_take", take)
    taken = list(watch("s", "owner/name", {}, LineReporter(), interval=0, rounds=5))

    assert tried == [(COMMITS[0], False), (COMMITS[1], True), (COMMITS[1], False)]
    assert [t.error is not None for t in taken] == [False, True, False]
