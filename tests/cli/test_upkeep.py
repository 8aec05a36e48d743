"""The upkeep commands as a person calls them: exit codes, JSON, dry runs that change nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from protea_ray.cli.main import app
from protea_ray.errors import ProteaRayError, StoreError, UnknownSpaceError
from protea_ray.store import aliases
from protea_ray.store.location import Location
from protea_ray.store.runs import record_run
from protea_ray.store.spaces import ensure_space
from tests import stores
from tests.store import build

SPACE = "esm2-00000001"


def call(*arguments: object, code: int = 0) -> str:
    """Run one command in this process; an error of the package is raised, as `main.run` would print it."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(done.exception, ProteaRayError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


def call_json(*arguments: object, code: int = 0) -> dict[str, Any]:
    return json.loads(call(*arguments, "--json", code=code).splitlines()[-1])


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """Twenty proteins in a space of four units that `current` points to, and an empty second space."""
    found = build.store(tmp_path / "s", range(20))
    ensure_space(found, build.info("second"), build.schema())
    aliases.move(found, "current", SPACE, run="r1", writer=build.writer())
    record_run(found, "r1", {"stored": 20}, writer=build.writer())
    return found


def versions(location: Location) -> dict[str, int]:
    return {name: stores.version(Path(location.table(name))) for name in location.tables() if name != "lease"}


def test_a_sound_space_verifies(location: Location) -> None:
    found = call_json("verify", location.uri, "--space", "current")

    assert (found["ok"], found["findings"]) == (True, [])
    assert found["rows"] == {"proteins": 20, SPACE: 20}
    said = call("verify", location.uri, "--space", "current").splitlines()
    assert said[0].startswith("sound: ")
    assert said[-1] == f"rows read: proteins 20, {SPACE} 20"


def test_damage_is_named_by_table_unit_and_id_then_repaired(location: Location) -> None:
    build.fill(location, SPACE, [3, 4], "r2.again", build.schema())

    found = call_json("verify", location.uri, "--space", "current", code=1)
    text = call("verify", location.uri, "--space", "current", code=1)

    (finding,) = found["findings"]
    assert (finding["kind"], finding["table"], finding["unit"]) == ("duplicate", SPACE, "r2.again")
    assert set(finding["keys"]) == {build.key(3).hex(), build.key(4).hex()}
    assert SPACE in text
    assert "r2.again" in text
    assert "P00003, P00004" in text
    assert build.key(3).hex() not in text
    assert f"next (1): protea-ray repair {location.uri}" in text

    before = versions(location)
    planned = call_json("repair", location.uri, "--dry-run")
    assert (planned["removals"][0]["rows"], versions(location)) == (2, before)
    assert call_json("repair", location.uri)["removals"][0]["rows"] == 2
    assert call_json("verify", location.uri, "--space", "current")["ok"]
    assert "nothing to remove" in call("repair", location.uri, "--space", "current")


def test_sources_are_listed_and_one_is_forgotten(location: Location) -> None:
    build.ingest(location, build.proteins([3, 21], "b.fasta#99aa"), "b.fasta#99aa", "99aa00")
    text = call("forget", location.uri)
    assert "b.fasta#99aa: 2 records, added 20" in text
    assert [s["label"] for s in call_json("forget", location.uri)["sources"]] == ["a.fasta#1", "b.fasta#99aa"]

    before = versions(location)
    planned = call_json("forget", location.uri, "99aa", "--dry-run")
    assert (planned["proteins"], planned["keys"], versions(location)) == (2, 1, before)
    with pytest.raises(StoreError, match=r"stands for 2 sources.*a\.fasta#1.*b\.fasta#99aa.*--all"):
        call("forget", location.uri, "/data/a.fasta")
    with pytest.raises(StoreError, match=r"no source 'b\.fasta'; the nearest is .*lists all"):
        call("forget", location.uri, "b.fasta")

    assert "b.fasta#99aa: forgotten" in call("forget", location.uri, "b.fasta#99aa")
    done = call_json("forget", location.uri, "/data/a.fasta", "--all")
    assert (done["sources"], done["keys"], done["vectors"]) == (["a.fasta#1"], 20, {SPACE: 20, "second": 0})
    assert call_json("verify", location.uri)["findings"] == []
    assert "no sources" in call("forget", location.uri)


def test_a_store_that_lost_its_proteins_is_not_sound(location: Location) -> None:
    shutil.rmtree(location.table("proteins"))

    text = call("verify", location.uri, code=1)

    assert "lost_table: proteins: is gone, though 1 sources and 20 vectors speak of it" in text
    assert text.startswith("damaged: proteins\n")
    assert "no_protein" not in text
    assert "a.fasta#1: would be read again" in call("repair", location.uri, "--dry-run")
    assert call_json("repair", location.uri)["sources"] == ["a.fasta#1"]


def test_missing_proteins_make_a_store_unsound(location: Location) -> None:
    found = call_json("verify", location.uri, code=4)

    assert [(f["kind"], f["table"], f["count"]) for f in found["findings"]] == [("missing", "second", 20)]


def test_upkeep_compacts_and_a_dry_run_does_not(location: Location) -> None:
    before = versions(location)
    planned = {t["table"]: t for t in call_json("upkeep", location.uri, "--dry-run", "--keep-hours", 0)["tables"]}
    assert (planned[SPACE]["fragments_before"], planned[SPACE]["fragments_after"]) == (4, 1)
    assert versions(location) == before

    done = {t["table"]: t for t in call_json("upkeep", location.uri, "--keep-hours", 0)["tables"]}

    assert (done[SPACE]["fragments_after"], done[SPACE]["versions_removed"] > 0) == (1, True)
    assert call_json("verify", location.uri, "--space", "current")["rows"][SPACE] == 20


def test_a_space_is_dropped_unless_an_alias_names_it(location: Location) -> None:
    with pytest.raises(StoreError, match="what current points to"):
        call("drop-space", location.uri, SPACE, "--yes")
    assert call_json("drop-space", location.uri, "second", "--dry-run")["rows"] == 0
    assert location.exists("second")

    call("drop-space", location.uri, "second", "--yes")

    assert not location.exists("second")
    with pytest.raises(UnknownSpaceError):
        call("drop-space", location.uri, "second", "--yes")


def test_an_index_below_the_threshold_says_why_not(location: Location) -> None:
    before = versions(location)

    assert "exact search is quick over 20 rows" in call("index", location.uri)
    (planned,) = call_json("index", location.uri, "--min-rows", 10, "--dry-run")["columns"]

    assert (planned["action"], planned["space"], planned["column"]) == ("none", SPACE, "mean")
    assert "256" in planned["reason"]
    assert versions(location) == before


def test_drift_prints_a_table_and_json(location: Location) -> None:
    build.fill(location, "second", range(5, 20), "u", build.schema())

    text = call("drift", location.uri, "current", "second")
    found = call_json("drift", location.uri, "current", "second", "--sample", 12)

    assert "15 of 15 proteins that both hold" in text
    assert "100.0%" in text
    assert (found["whole"]["proteins"], found["whole"]["overlap"], found["shared"]) == (12, 1.0, 15)
    assert found["whole"]["cosine_mean"] == pytest.approx(1)


@pytest.mark.parametrize("command", ["verify", "repair", "upkeep", "index", "alias"])
def test_no_store_is_said_and_none_is_made(command: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        call(command, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
