"""An error keeps its own words on its way from a worker to a person, and the first one counts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import ray
import ray.data

from protea_ray.config.run import RunOptions
from protea_ray.errors import CommitError, ConfigError, StoreError
from protea_ray.pipeline.cluster import connect, keep_token_private, token_file
from protea_ray.pipeline.failures import own_errors
from protea_ray.pipeline.loop import _flushed


def refuse(_: object) -> None:
    raise StoreError("no space left")


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_task_is_raised_as_it_was() -> None:
    with pytest.raises(StoreError) as caught, own_errors():
        ray.get(ray.remote(refuse).remote(1))

    assert type(caught.value) is StoreError
    assert str(caught.value) == "no space left"


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_data_set_is_raised_as_it_was() -> None:
    with pytest.raises(StoreError) as caught, own_errors():
        list(ray.data.range(3).map_batches(refuse).iter_rows())

    assert type(caught.value) is StoreError
    assert str(caught.value) == "no space left"


class Full:
    """A committer whose store is full."""

    def __init__(self) -> None:
        self.asked = 0

    def flush(self) -> None:
        self.asked += 1
        raise CommitError("did not take it")


def test_a_failing_flush_does_not_hide_what_came_first() -> None:
    both = [Full(), Full()]
    with pytest.raises(KeyboardInterrupt) as caught, _flushed(both):  # type: ignore[arg-type]
        raise KeyboardInterrupt

    assert [c.asked for c in both] == [1, 1]  # the second is tried although the first failed
    assert "done again: did not take it" in caught.value.__notes__[0]


def test_a_failing_flush_at_the_end_is_an_error() -> None:
    with pytest.raises(CommitError), _flushed([Full()]):  # type: ignore[list-item]
        pass


@pytest.mark.parametrize("umask_left", [None, 0o644])
def test_the_token_is_for_its_owner_only(
    umask_left: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    if umask_left is not None:
        token_file().parent.mkdir()
        token_file().write_text("t" * 64)
        token_file().chmod(umask_left)

    keep_token_private()

    assert stat.S_IMODE(token_file().stat().st_mode) == 0o600
    assert len(token_file().read_text()) == 64


def test_a_cluster_that_lets_nobody_in_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise ConnectionError("Failed to connect")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1:6379.*RAY_AUTH_MODE=token"):
        connect(RunOptions(address="10.0.0.1:6379"))
