"""The command `alias`: moves that say where from and how to go back, pins, history, deletion."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.errors import ConfigError, ProteaRayError, StoreError, UnknownSpaceError
from protea_ray.query.reader import open_store
from protea_ray.store import aliases
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location
from protea_ray.store.spaces import ensure_space
from tests.cli.test_upkeep import call, call_json
from tests.store import build

SPACE = "esm2-00000001"


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """Twenty proteins in a space of four units that `current` points to, and an empty second space."""
    found = build.store(tmp_path / "s", range(20))
    ensure_space(found, build.info("second"), build.schema())
    aliases.move(found, "current", SPACE, run="r1", writer=build.writer())
    return found


def points(space: str, version: int | None = None, proteins: int | None = None) -> dict[str, object]:
    return {"space": space, "version": version, "proteins": proteins}


def test_an_alias_is_listed_moved_and_pinned_even_beside_a_writer(location: Location) -> None:
    assert SPACE in call("alias", location.uri)
    dry = call_json("alias", location.uri, "current", "second", "--dry-run")
    assert dry["aliases"] == {"current": points(SPACE)}

    with Lease.acquire(location):
        moved = call_json("alias", location.uri, "current", "second")
    assert moved["aliases"] == {"current": points("second")}
    pinned = call_json("alias", location.uri, "paper", SPACE, "--version", 3)
    assert pinned["aliases"]["paper"] == points(SPACE, 3, 2)
    assert call_json("alias", location.uri, "copy", "paper")["aliases"]["copy"] == points(SPACE, 3, 2)


def test_a_move_says_where_from_and_its_way_back_works(location: Location) -> None:
    back = call("alias", location.uri, "current", "second").strip()
    assert back == f"current: {SPACE} -> second; back: protea-ray alias {location.uri} current {SPACE}"
    call(*back.partition("back: protea-ray ")[2].split())
    assert aliases.list_aliases(location)["current"].space == SPACE

    call("alias", location.uri, "paper", SPACE, "--version", 3)
    moved = call("alias", location.uri, "paper", "second")
    assert f"paper: {SPACE} at version 3 (proteins at 2) -> second; back: " in moved
    call(*moved.strip().partition("back: protea-ray ")[2].split())
    assert aliases.list_aliases(location)["paper"].target == f"{SPACE} at version 3 (proteins at 2)"

    new = call("alias", location.uri, "other", "second")
    assert new.startswith("other: new -> second; back: ")
    call(*new.strip().partition("back: protea-ray ")[2].split())
    assert "other" not in aliases.list_aliases(location)


def test_a_pin_of_now_names_both_versions(location: Location) -> None:
    said = call("alias", location.uri, "train-v1", "current", "--pin")
    assert f"train-v1: new -> {SPACE} at version 5 (proteins at 2)" in said
    build.ingest(location, build.proteins([30], "b"), "b", "d2")
    assert open_store(location.uri).pin("train-v1").to_json() == points(SPACE, 5, 2)
    assert open_store(location.uri).pin("current").to_json() == points(SPACE, 5, 3)


def test_a_deleted_alias_is_gone_and_its_history_stays(location: Location) -> None:
    call("alias", location.uri, "candidate", "second")
    dry = call("alias", location.uri, "candidate", "--delete", "--dry-run")
    assert dry == "candidate: would be deleted; it points to second\n"
    call("alias", location.uri, "candidate", "--delete")

    assert set(call_json("alias", location.uri)["aliases"]) == {"current"}
    with pytest.raises(UnknownSpaceError, match="no space or alias 'candidate'"):
        open_store(location.uri).pin("candidate")
    call("drop-space", location.uri, "second", "--yes")

    moves = call_json("alias", location.uri, "candidate", "--history")["history"]
    assert [move["space"] for move in moves] == ["second", None]
    lines = call("alias", location.uri, "--history").splitlines()
    assert len(lines) == 3
    assert "candidate -> deleted" in lines[-1]


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("current", "nowhere"), UnknownSpaceError, "nowhere"),
        (("second", SPACE, "--dry-run"), StoreError, "name of a table"),
        (("current",), ConfigError, f"name the space that current should point to; it points to {SPACE}"),
        (("current", SPACE, "--version", 99), StoreError, "does not exist yet; its latest is 5"),
        (("current", "--delete"), ConfigError, "cannot be deleted"),
        (("nobody", "--delete"), UnknownSpaceError, "no alias 'nobody'; aliases: current"),
        (("nobody", "--delete", "--dry-run"), UnknownSpaceError, "no alias 'nobody'"),
        (("current", SPACE, "--delete"), ConfigError, "takes no space"),
        (("x", SPACE, "--pin", "--version", 3), ConfigError, "give one of them"),
        (("nobody", "--history"), ConfigError, "never an alias 'nobody'; aliases: current"),
        (("current", "--history", "--delete"), ConfigError, "--history only shows"),
        (("--pin",), ConfigError, "name the alias that --pin is for"),
    ],
)
def test_an_alias_that_cannot_be_is_refused(
    location: Location, words: tuple[object, ...], error: type[ProteaRayError], said: str
) -> None:
    with pytest.raises(error) as caught:
        call("alias", location.uri, *words)
    assert said in " ".join(str(caught.value).split())
    assert len(aliases.history(location)) == 1
