"""Forgetting a source takes out what only it holds, and is finished by the same call wherever it was stopped."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from protea_ray.errors import CommitError, LeaseHeldError, StoreError
from protea_ray.query.reader import open_store
from protea_ray.store import forget as forgetting
from protea_ray.store.commit import Writer
from protea_ray.store.forget import forget, list_sources
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location
from protea_ray.store.runs import last_run
from protea_ray.store.tables import open_table
from protea_ray.store.verify import verify
from tests.store import build, rich

ONLY_A = {build.key(n) for n in range(8)}
ALL = {build.key(n) for n in range(20)}
LEFT = ALL - ONLY_A


@pytest.fixture
def location(rich_location: Location) -> Location:
    return rich_location


def contents(location: Location) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table that a source has rows in, without vectors; sorted."""
    names = {
        "sources": ["source", "records"],
        "proteins": ["source", "line", "key"],
        "rejects": ["source", "line", "stage", "space", "key"],
        **{space: ["key", "chunk_start", "unit"] for space in rich.SPACES},
    }
    tables = {n: open_table(location.table(n)).to_table(columns=c).to_pylist() for n, c in names.items()}
    return {n: sorted((tuple(row.values()) for row in rows), key=repr) for n, rows in tables.items()}


def kept(reject: tuple[object, ...]) -> bool:
    """Whether a row of rejects stays when A is forgotten."""
    source, _, stage, _, key = reject
    return source == rich.B if stage == "ingest" else key in LEFT


def test_what_only_this_source_holds_goes_from_every_table(location: Location) -> None:
    assert verify(location).findings == ()
    before = contents(location)
    chunks = sum(len(rich.spans(n)) for n in range(8) if n != 3)

    done = forget(location, rich.A)

    assert (done.sources, done.proteins, done.keys, done.dry_run) == ((rich.A,), 12, 8, False)
    assert done.vectors == {rich.WHOLE: 8, rich.CHUNKED: chunks, rich.TAKEN: 2}
    after = contents(location)
    assert after["sources"] == [(rich.B, 13)]
    assert after["proteins"] == [row for row in before["proteins"] if row[0] == rich.B]
    assert after["rejects"] == [r for r in before["rejects"] if kept(r)]
    assert done.rejects == len(before["rejects"]) - len(after["rejects"]) == 1 + 1 + 6  # own, in chunked, in taken
    for space in rich.SPACES:
        assert after[space] == [row for row in before[space] if row[0] in LEFT]
    assert verify(location).findings == ()
    run = last_run(location)
    assert run is not None
    assert (run["kind"], run["summary"]["vectors"]) == ("forget", done.vectors)


def test_a_source_whose_proteins_are_all_elsewhere_takes_no_vector(location: Location) -> None:
    rich.ingest(location, "/data/part.fasta#cccc", [5, 9, 17])
    before = rich.versions(location)

    done = forget(location, "/data/part.fasta")

    assert (done.keys, done.proteins, done.rejects) == (0, 3, 1)
    assert set(done.vectors.values()) == {0}
    assert {name for name, at in rich.versions(location).items() if at != before[name]} == {
        "sources", "proteins", "rejects", "runs",
    }  # fmt: skip
    assert verify(location).findings == ()


def test_both_sources_one_after_the_other_leave_nothing(location: Location) -> None:
    forget(location, "bbbb")
    assert rich.keys(location, rich.WHOLE) == {build.key(n) for n in rich.OF_A}
    forget(location, "aaaa1111")
    for name, rows in contents(location).items():
        assert rows == [], name
    assert verify(location).findings == ()
    assert list_sources(location) == []
    with pytest.raises(StoreError, match=r"no source.*it has none"):
        forget(location, "aaaa1111")


@pytest.mark.parametrize("name", [rich.B, "/data/b's.fasta", "/data/../data/b's.fasta", "BBBB", "bbbb33334444000"])
def test_a_source_is_named_by_label_path_or_digest(location: Location, name: str) -> None:
    wanted = name if ".." not in name else rich.B
    assert forget(location, wanted, dry_run=True).sources == (rich.B,)


def test_a_relative_path_is_the_file_it_leads_to(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert forget(location, "data/a.fasta", dry_run=True).sources == (rich.A,)


@pytest.mark.parametrize("name", ["/data/a.fast", "aaa", "", "a' OR '1'='1", "/data", rich.A[:-1]])
def test_an_unknown_name_is_an_error_that_tells_how_to_list(location: Location, name: str) -> None:
    before = rich.versions(location)
    with pytest.raises(StoreError, match=r"has no source .*protea-ray forget .* lists all"):
        forget(location, name)
    assert rich.versions(location) == before
    if name.startswith("/data/a"):
        with pytest.raises(StoreError, match=r"the nearest is /data/a\.fasta"):
            forget(location, name)


def test_of_several_versions_of_a_path_one_is_named_or_all(location: Location) -> None:
    newer = "/data/a.fasta#dddd55556666"
    rich.ingest(location, newer, [0, 30])
    with pytest.raises(StoreError, match="stands for 2 sources") as caught:
        forget(location, "/data/a.fasta")
    assert f"{rich.A}: 13 records, added 2" in str(caught.value)
    assert newer in str(caught.value)
    assert "--all" in str(caught.value)
    assert forget(location, rich.A, dry_run=True).keys == 7  # 0 is in the newer one
    done = forget(location, "/data/a.fasta", all_versions=True)
    assert (done.sources, done.keys) == ((rich.A, newer), 9)
    assert verify(location).findings == ()


def test_a_dry_run_tells_the_same_and_changes_nothing(location: Location) -> None:
    before = rich.versions(location)
    with Lease.acquire(location):
        planned = forget(location, "aaaa", dry_run=True)
        with pytest.raises(LeaseHeldError):
            forget(location, "aaaa")
    assert rich.versions(location) == before
    done = forget(location, "aaaa")
    assert planned.dry_run
    assert {**planned.to_json(), "dry_run": False} == done.to_json()


class Stopped(Writer):
    """A writer whose driver dies after a number of changes."""

    left = 0

    def remove(self, uri: str, filter: str) -> int:
        done = super().remove(uri, filter)
        type(self).left -= 1
        if self.left == 0:
            raise CommitError("killed")
        return done


CHANGES = 12  # three keys at a time: sources, 3 + 3 + 1 of the spaces, 2 + 1 of rejects, proteins
STOPPED = [(n, "forget") for n in range(1, CHANGES)] + [(n, "ingest") for n in (1, 4, 9, 11)]


@pytest.mark.parametrize(("changes", "then"), STOPPED)
def test_a_removal_that_is_stopped_anywhere_is_finished(
    location: Location, monkeypatch: pytest.MonkeyPatch, changes: int, then: str
) -> None:
    before = contents(location)
    with monkeypatch.context() as killed:
        killed.setattr(forgetting, "_KEYS_OF_ONE_REMOVAL", 3)
        killed.setattr(forgetting, "Writer", Stopped)
        killed.setattr(Stopped, "left", changes)
        with pytest.raises(CommitError, match="killed"):
            forget(location, "aaaa")
    stopped = verify(location)
    assert not stopped.ok
    assert {f.kind for f in stopped.findings} <= {"unrecorded_source", "missing"}
    assert {rich.A} == {label for f in stopped.findings for label in f.sources}
    if then == "forget":
        done = forget(location, "aaaa")
        assert (done.sources, done.keys) == ((rich.A,), 8)
        assert verify(location).findings == ()
        assert rich.keys(location, rich.WHOLE) == rich.keys(location, "proteins") == LEFT
        assert contents(location)["rejects"] == [r for r in before["rejects"] if kept(r)]
    else:
        rich.ingest(location, rich.A, rich.OF_A)
        after = contents(location)
        assert after["proteins"] == before["proteins"]
        assert [r for r in after["rejects"] if r[2] == "ingest"] == [r for r in before["rejects"] if r[2] == "ingest"]
        assert {f.kind for f in verify(location).findings} <= {"missing"}


def test_the_number_of_changes_is_the_one_that_is_tried(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "_KEYS_OF_ONE_REMOVAL", 3)
    monkeypatch.setattr(forgetting, "Writer", Stopped)
    monkeypatch.setattr(Stopped, "left", 0)
    forget(location, "aaaa")
    assert Stopped.left == -CHANGES
    assert verify(location).findings == ()


def test_a_reader_of_an_earlier_version_keeps_what_was_forgotten(location: Location) -> None:
    store = open_store(location.uri)
    pin = store.pin(rich.WHOLE)
    view = store.view(rich.WHOLE)
    assert view.proteins.count_rows() == 24  # opened before
    forget(location, "aaaa")
    assert view.proteins.count_rows() == 24
    assert len(store.get("P00002", space=pin)) == 1
    assert store.residues("P00002", space=pin)[1:4].tobytes() == build.residues(2)[1:4].tobytes()
    assert len(store.get("P00002", space=rich.WHOLE)) == 0
    assert len(store.get("P00009", space=rich.WHOLE)) == 1


def test_a_source_of_which_only_rejects_are_left_is_listed_and_forgotten(location: Location) -> None:
    rich.append(location, "rejects", rich.reject("/data/c.fasta#eeee,first=3of12345678", 4))
    found = list_sources(location)[-1]
    assert (found.recorded, found.uri, found.records, found.rejects) == (False, "/data/c.fasta", 1, 1)
    assert verify(location).findings[0].kind == "unrecorded_source"
    assert forget(location, "/data/c.fasta").rejects == 1
    assert verify(location).findings == ()


def test_rejects_of_a_protein_that_another_source_holds_stay(location: Location) -> None:
    forget(location, "bbbb")
    of_nine = rich.keys(location, "rejects", f"space = '{rich.CHUNKED}'")
    assert of_nine == {build.key(3), build.key(9)}


@pytest.mark.parametrize("table", ["proteins", "rejects", "sources", rich.CHUNKED])
@pytest.mark.parametrize("part", ["_versions", "data"])
def test_nothing_is_removed_while_a_table_cannot_be_read(location: Location, table: str, part: str) -> None:
    for path in (Path(location.table(table)) / part).iterdir():
        path.write_bytes(path.read_bytes()[:70])
    before = rich.versions(location) if part == "data" else None
    for dry_run in (True, False):
        with pytest.raises(StoreError, match="cannot be read"):
            forget(location, "aaaa", dry_run=dry_run)
    assert before is None or rich.versions(location) == before


@pytest.mark.parametrize(("table", "column"), [("proteins", "source"), ("rejects", "stage"), ("sources", "digest")])
def test_a_table_without_one_of_its_columns_is_refused_in_words(location: Location, table: str, column: str) -> None:
    open_table(location.table(table)).alter_columns({"path": column, "name": "renamed"})
    with pytest.raises(StoreError, match=f"{column}: missing in the table"):
        forget(location, "aaaa")


def test_columns_of_others_and_tables_of_others_are_left_alone(location: Location) -> None:
    import lance

    for name in location.tables():
        open_table(location.table(name)).add_columns(pa.field("mine", pa.string()))
    open_table(location.table("proteins")).add_columns({"strict": "'x'"})  # nothing is appended to this one
    other = lance.write_dataset(pa.table({"key": [build.key(0)], "note": ["x"]}), location.table("notes"))
    assert forget(location, "aaaa").keys == 8
    assert other.count_rows() == lance.dataset(other.uri).count_rows() == 1
    assert open_table(location.table("proteins")).schema.names[-2:] == ["mine", "strict"]
    assert verify(location).findings == ()
