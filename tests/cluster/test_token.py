"""A token that nobody else can read, wherever it may be kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from protea_ray.cluster.token import ensure_private_token, token_file


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of its own, and no word of a token in the environment, before and after."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")  # so that it is put back
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("mode", [None, 0o644, 0o640, 0o660, 0o604, 0o610])
def test_a_token_is_for_its_owner_only(mode: int | None) -> None:
    if mode is not None:
        token_file().parent.mkdir()
        token_file().write_text("t" * 64)
        token_file().chmod(mode)

    ensure_private_token()

    assert stat.S_IMODE(token_file().stat().st_mode) == 0o600
    assert len(token_file().read_text()) == 64
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_none_is_made_where_one_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    ensure_private_token()
    assert not token_file().exists()


def test_none_is_made_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ensure_private_token()
    assert not token_file().exists()
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_home_that_is_a_file_leaves_the_token_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    ensure_private_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_no_home_at_all_leaves_the_token_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    ensure_private_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_a_full_disk_leaves_no_empty_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    ensure_private_token()
    assert not token_file().exists()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
