"""What is lost, repeated or changed in proteins, rejects and sources is damage, and repair makes a way out of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import lance
import pytest

from protea_ray.store.findings import Finding
from protea_ray.store.location import Location
from protea_ray.store.repair import repair
from protea_ray.store.tables import open_table
from protea_ray.store.verify import verify
from tests.store import build, rich

Damage = Callable[[Location], object]
Kinds = set[tuple[str, str]]


def kinds(location: Location) -> Kinds:
    return {(f.kind, f.table) for f in verify(location).findings}


def ingest_again(location: Location) -> None:
    """What the next embed of both inputs does before it computes anything."""
    for label, numbers in ((rich.A, rich.OF_A), (rich.B, rich.OF_B)):
        rich.ingest(location, label, numbers)


def drop(name: str) -> Damage:
    return lambda location: shutil.rmtree(location.table(name))


def drop_versions(name: str) -> Damage:
    return lambda location: shutil.rmtree(Path(location.table(name)) / "_versions")


def delete(name: str, where: str) -> Damage:
    return lambda location: open_table(location.table(name)).delete(where)


def update(name: str, where: str, **values: str) -> Damage:
    return lambda location: open_table(location.table(name)).update(values, where=where)


def append_again(name: str, where: str) -> Damage:
    def damage(location: Location) -> None:
        rows = open_table(location.table(name)).to_table(filter=where)
        lance.write_dataset(rows, location.table(name), mode="append")

    return damage


IN_A, IN_B = f"source = '{rich.A}'", f"source = '{rich.B.replace(chr(39), 2 * chr(39))}'"
BOTH = (rich.A, rich.B)
CASES: dict[str, tuple[Damage, Kinds, tuple[str, ...]]] = {
    "proteins lost": (drop("proteins"), {("lost_table", "proteins")}, BOTH),
    "proteins' versions lost": (drop_versions("proteins"), {("lost_table", "proteins")}, BOTH),
    "all proteins deleted": (delete("proteins", "true"), {("wrong_count", "proteins")}, BOTH),
    "sources lost": (drop("sources"), {("lost_table", "sources")}, BOTH),
    "sources' versions lost": (drop_versions("sources"), {("lost_table", "sources")}, BOTH),
    "one protein lost": (delete("proteins", f"line = 5 AND {IN_A}"), {("wrong_count", "proteins")}, (rich.A,)),
    "two merged": (
        update("proteins", f"line = 5 AND {IN_B}", line="7"),
        {("repeated_record", "proteins")},
        (rich.B,),
    ),
    "a source's proteins twice": (
        append_again("proteins", IN_B),
        {("wrong_count", "proteins"), ("repeated_record", "proteins")},
        (rich.B,),
    ),
    "an ingest reject lost": (delete("rejects", f"{IN_B} AND line = 999"), {("wrong_count", "rejects")}, (rich.B,)),
    "an ingest reject twice": (
        append_again("rejects", f"{IN_A} AND stage = 'ingest'"),
        {("wrong_count", "rejects")},
        (rich.A,),
    ),
    "a source twice": (append_again("sources", IN_B), {("repeated_record", "sources")}, (rich.B,)),
    "a count changed": (update("sources", IN_A, proteins="13"), {("wrong_count", "proteins")}, (rich.A,)),
    "a length changed": (
        update("proteins", "id = 'P00013'", length="length + 1"),
        {("wrong_length", "proteins")},
        (rich.B,),
    ),
    "a letter changed": (
        update("proteins", f"id = 'P00002' AND {IN_A}", sequence="replace(sequence, 'A', 'G')"),
        {("wrong_key", "proteins")},
        (rich.A,),
    ),
    "a letter that is none": (
        update("proteins", f"id = 'P00002' AND {IN_A}", sequence="'é'"),
        {("wrong_key", "proteins")},
        (rich.A,),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_damage_of_the_records_is_named_and_mended_by_reading_them_again(rich_location: Location, case: str) -> None:
    damage, expected, sources = CASES[case]
    vectors = {name: rich.keys(rich_location, name) for name in rich.SPACES}
    damage(rich_location)
    report = verify(rich_location)
    assert not report.ok
    assert {(f.kind, f.table) for f in report.damage} == expected
    planned = repair(rich_location, dry_run=True)
    done = repair(rich_location)
    assert done.sources == planned.sources == sources
    assert (done.left, done.removals) == ((), ())
    ingest_again(rich_location)
    assert kinds(rich_location) <= {("orphans", "proteins"), ("orphans", "rejects"), ("orphans", "sources")}
    assert {name: rich.keys(rich_location, name) for name in rich.SPACES} == vectors


def test_lost_rejects_are_damage_of_the_sources_that_had_some(rich_location: Location) -> None:
    build.ingest(rich_location, build.proteins([1], "clean#1"), "clean#1", "d9")
    drop("rejects")(rich_location)
    report = verify(rich_location)
    (lost,) = report.damage
    assert (lost.kind, lost.table, lost.sources) == ("lost_table", "rejects", BOTH)
    missing = {f.table: f.count for f in report.findings if f.kind == "missing"}
    assert missing == {rich.CHUNKED: 2, rich.TAKEN: 16}  # those that embedding rejected are tried again
    assert repair(rich_location).sources == BOTH
    ingest_again(rich_location)
    assert {kind for kind, _ in kinds(rich_location)} <= {"missing", "orphans"}


def test_a_source_without_rows_of_a_kind_loses_nothing_with_the_table(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(5))
    drop("rejects")(location)
    assert verify(location).findings == ()


def test_vectors_without_any_protein_or_source_are_a_lost_table(rich_location: Location) -> None:
    for name in ("proteins", "sources", "rejects"):
        drop(name)(rich_location)
    report = verify(rich_location)
    assert [(f.kind, f.table) for f in report.findings] == [("lost_table", "proteins")]
    assert "0 sources and" in report.findings[0].detail


def test_a_lost_space_is_named_by_its_alias_or_by_its_files(rich_location: Location) -> None:
    drop_versions(rich.CHUNKED)(rich_location)
    drop(rich.WHOLE)(rich_location)
    found: dict[str, Finding] = {f.kind: f for f in verify(rich_location).findings}
    assert set(found) == {"lost_table", "dangling_alias"}
    assert found["lost_table"].table == rich.CHUNKED
    assert f"current points to {rich.WHOLE}" in found["dangling_alias"].detail
    assert not verify(rich_location).ok
    assert repair(rich_location).left == ()


def test_lost_aliases_and_a_lost_lease(rich_location: Location) -> None:
    drop("lease")(rich_location)
    report = verify(rich_location)
    assert [f.kind for f in report.findings] == ["lost_lease"]
    assert report.ok
    drop("aliases")(rich_location)
    assert {f.kind for f in verify(rich_location).findings} == {"lost_lease", "lost_alias"}
    assert not verify(rich_location).ok
    open_table(rich_location.table("runs")).update({"kind": "'import'"})  # which moves no alias
    assert [f.kind for f in verify(rich_location).findings] == ["lost_lease"]


def test_a_file_of_records_that_cannot_be_read_is_one_finding(rich_location: Location) -> None:
    for path in (Path(rich_location.table("proteins")) / "data").glob("*.lance"):
        path.write_bytes(path.read_bytes()[:100])
    report = verify(rich_location)
    assert [(f.kind, f.table) for f in report.damage] == [("unreadable", "proteins")]
    assert repair(rich_location).left == report.damage
    drop("proteins")(rich_location)  # the way out that repair tells
    assert repair(rich_location).sources == BOTH
    ingest_again(rich_location)
    assert verify(rich_location).findings == ()


@pytest.mark.parametrize(("table", "column"), [("proteins", "sequence"), ("sources", "source"), ("rejects", "stage")])
def test_a_column_that_is_gone_is_a_finding(rich_location: Location, table: str, column: str) -> None:
    open_table(rich_location.table(table)).alter_columns({"path": column, "name": "renamed"})
    (found,) = verify(rich_location, rich.WHOLE).damage
    assert (found.kind, found.table) == ("unreadable", table)
    assert column in found.detail


def test_many_sources_are_counted_and_three_are_named(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(3))
    for number in range(5):
        build.ingest(location, build.proteins([20 + number], f"f{number}"), f"f{number}", f"d{number}x")
    delete("proteins", "source <> 'a.fasta#1'")(location)
    (found,) = verify(location).damage
    assert (found.kind, found.count, found.sources) == ("wrong_count", 5, tuple(f"f{n}" for n in range(5)))
    assert "f2: 1 recorded, 0 there and 2 more" in found.detail
