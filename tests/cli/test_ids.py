"""`query`, `export` and `import` as a person calls them: ids that are not there, and files that cannot be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import commands
from tests.exchange import files
from tests.store import build

SPACE = "esm2-00000001"
IDS = ("sp|P62258|1433E_HUMAN", "sp|Q04917|1433F_HUMAN", "tr|B7Z2E6|B7Z2E6_HUMAN", "sp|P61981|1433G_HUMAN")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three proteins with vectors under UniProt's headers, the first corrected from protein 0 to 9, and one without."""
    location = build.store(tmp_path_factory.mktemp("ids") / "s", [])
    build.ingest(location, build.proteins(range(4), "a#1", ids=IDS), "a#1", "d1")
    build.ingest(location, build.proteins([9], "b#2", ids=IDS[:1]), "b#2", "d2")
    build.fill(location, SPACE, [0, 1, 2, 9], "r1.0", build.schema())
    return location.uri


def test_known_ids_are_shown_and_unknown_ones_named(store: str) -> None:
    done = commands.call("query", store, "--id", "Q04917", "--id", "O00000", "--id", "P61981")

    assert done.returncode == 1
    assert "sp|Q04917|1433F_HUMAN" in done.stdout
    assert "no protein with the id O00000; no vector in this space: sp|P61981|1433G_HUMAN" in done.stderr
    assert commands.call("query", store, "--id", "Q04917").returncode == 0


def test_no_known_id_is_an_error_that_shows_an_id(store: str) -> None:
    done = commands.call("query", store, "--id", "NOPE")

    assert (done.returncode, done.stdout) == (1, "")
    assert "no protein with the id NOPE; its ids look like 'sp|P62258|1433E_HUMAN'" in done.stderr
    done = commands.call("query", store, "--id", "NOPE", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["rows"], said["unknown"]) == (1, 0, ["NOPE"])


def test_every_sequence_of_an_id_only_when_asked(store: str) -> None:
    newest = commands.call("query", store, "--id", "1433E_HUMAN", "--json")
    every = commands.call("query", store, "--id", "1433E_HUMAN", "--json", "--all-sequences")

    assert [p["length"] for p in json.loads(newest.stdout)["proteins"]] == [len(build.sequence(9))]
    assert [p["length"] for p in json.loads(every.stdout)["proteins"]] == [len(build.sequence(n)) for n in (0, 9)]


def test_a_filter_without_a_match(store: str, tmp_path: Path) -> None:
    done = commands.call("query", store, "--where", "length > 7000")
    assert (done.returncode, done.stdout) == (0, "0 proteins\n")
    done = commands.call("query", store, "--where", "length > 7000", "--out", tmp_path / "v.parquet")
    assert done.returncode == 1
    assert "no protein to write" in done.stderr
    done = commands.call("query", store, "--where", "id LIKE '%1433G%'")
    assert "0 proteins: 1 that match have no vector" in done.stderr
    assert not list(tmp_path.iterdir())


def test_export_writes_the_known_and_names_the_others(store: str, tmp_path: Path) -> None:
    done = commands.call("export", store, tmp_path / "v.npz", "--id", "B7Z2E6", "--id", "Z99999")
    assert done.returncode == 1
    assert "1 rows written" in done.stdout
    assert "Z99999" in done.stderr
    done = commands.call("export", store, tmp_path / "w.npz", "--id", "Z99999")
    assert done.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["v.npz"]


@pytest.mark.parametrize("place", ["nosuchdir/x", ".", "file/x", "n" * 300])
def test_a_path_that_cannot_be_written_is_refused_before_anything_is_done(
    store: str, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("kept")
    vectors = files.pth(tmp_path / "v.pth", {build.sequence(1): build.vector(1)})
    before = sorted(Path(store).iterdir())
    out = tmp_path / place
    for arguments in (
        ("query", store, "--where", "length > 1", "--out", out),
        ("export", store, f"{out}.npz" if place != "." else out),
        ("rejects", store, "--out", out),
        ("import", vectors, store, "--model", "m", "--unmatched", out),
        ("convert-protea", "config.json", "--out", out),
    ):
        done = commands.call(*arguments)
        assert done.returncode == 2, (arguments, done)
        assert done.stderr.startswith("error: ")
    assert sorted(Path(store).iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "v.pth"]


def test_an_import_into_nothing_or_of_nothing_leaves_nothing(store: str, tmp_path: Path) -> None:
    path = files.esm(tmp_path / "esm", {"P62258": build.vector(0), "Q04917": build.vector(1), "Z9": build.vector(2)})
    done = commands.call("import", path, tmp_path / "new", "--model", "m")
    assert (done.returncode, (tmp_path / "new").exists()) == (1, False)
    assert "there is no store" in done.stderr
    left = tmp_path / "left.txt"
    said = commands.call_json("import", path, store, "--model", "m", "--unmatched", left)
    assert (said["stored"], said["unmatched"], said["ambiguous"]) == (1, 1, 1)
    assert left.read_text() == "Z9 some protein\nP62258 some protein\n"
    other = files.esm(tmp_path / "other", {"Z1": build.vector(0)})
    before = sorted(p.name for p in Path(store).iterdir())
    done = commands.call("import", other, store, "--model", "second")
    assert done.returncode == 1
    assert "none of 1 vectors can be stored" in done.stderr
    assert sorted(p.name for p in Path(store).iterdir()) == before
