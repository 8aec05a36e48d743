"""A pinned alias keeps the vectors and the proteins of one moment, also in a store that an earlier version made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from protea_ray.errors import ConfigError, StoreError
from protea_ray.query.reader import Store, open_store
from protea_ray.query.view import Pin
from protea_ray.store import aliases, pins
from protea_ray.store.columns import require_columns
from protea_ray.store.location import ALIASES_TABLE, Location
from protea_ray.store.tables import open_table
from protea_ray.store.upkeep import upkeep
from tests.store import build

SPACE = "esm2-00000001"
NOW = timedelta(0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twenty proteins in one space, at version 5 beside proteins at version 2."""
    return open_store(build.store(tmp_path / "s", range(20)).uri)


def grow(location: Location, number: int) -> None:
    """One run: a protein is read, then its vector is stored."""
    build.ingest(location, build.proteins([number], f"s{number}"), f"s{number}", f"d{number}")
    build.fill(location, SPACE, [number], f"r{number}", build.schema())


def test_an_older_version_is_pinned_with_the_proteins_of_its_time(store: Store) -> None:
    grow(store.location, 30)  # proteins 3, space 6
    grow(store.location, 31)  # proteins 4, space 7

    assert pins.pinned_target(store.location, SPACE) == (SPACE, 7, 4)
    assert pins.pinned_target(store.location, SPACE, 7) == (SPACE, 7, 4)
    assert pins.pinned_target(store.location, SPACE, 6) == (SPACE, 6, 4)  # until space 7 came, readers saw proteins 4
    assert pins.pinned_target(store.location, SPACE, 5) == (SPACE, 5, 3)
    assert pins.pinned_target(store.location, SPACE, 4) == (SPACE, 4, 2)


def test_upkeep_keeps_both_versions_of_a_pinned_alias(store: Store) -> None:
    pin = store.pin(keep="train-v1")
    before = store.to_arrow(space=pin)
    lost = store.pin()
    grow(store.location, 30)
    passing = store.pin()
    grow(store.location, 31)

    planned = {t.table: t.versions_removed for t in upkeep(store.location, keep=NOW, dry_run=True)}
    done = {t.table: t.versions_removed for t in upkeep(store.location, keep=NOW)}

    assert planned == done
    for name, kept in ((SPACE, pin.version), ("proteins", pin.proteins)):
        table = open_table(store.location.table(name))
        assert [v["version"] for v in table.versions()] == [kept, table.version]
    assert lost == pin == store.pin("train-v1")
    assert store.to_arrow(space=pin).equals(before)
    with pytest.raises(StoreError, match=r"version 6 of .*\.lance is gone.*upkeep.*keep=\"NAME\""):
        store.to_arrow(space=passing)


def test_proteins_that_upkeep_took_away_are_not_guessed(store: Store) -> None:
    aliases.move(store.location, "old", SPACE, version=4, run="r0", writer=build.writer())  # an earlier version's pin
    grow(store.location, 30)
    upkeep(store.location, keep=NOW)
    with pytest.raises(StoreError, match=r"belonged to version 4 of .* can no longer be told.* --pin`"):
        pins.pinned_target(store.location, "old")


@pytest.mark.parametrize(
    ("versions", "found"),
    [([1, 2, 3, 4], 2), ([2, 3], 2), ([2], 2), ([1, 2, 4], None), ([1, 4], None), ([3, 4], None), ([], None)],
)
def test_a_version_counts_only_where_its_successor_is_known(versions: list[int], found: int | None) -> None:
    times = {number: datetime(2026, 1, number, tzinfo=UTC) for number in versions}
    assert pins.latest_before(datetime(2026, 1, 3, tzinfo=UTC), times) == found


def test_a_pin_that_was_moved_is_found_again(store: Store) -> None:
    pin = store.pin(keep="train-v1")
    build.ingest(store.location, build.proteins([30], "b"), "b", "d2")  # beside the same version of the space
    aliases.move(store.location, "train-v1", SPACE, run="r9", writer=build.writer())
    assert pins.pinned_target(store.location, SPACE, 5) == (SPACE, 5, pin.proteins)
    assert pins.pinned_target(store.location, SPACE, 4) == (SPACE, 4, 2)


def test_a_deleted_pin_keeps_nothing(store: Store) -> None:
    pin = store.pin(keep="train-v1")
    grow(store.location, 30)
    aliases.delete(store.location, "train-v1", run="r9", writer=build.writer())
    upkeep(store.location, keep=NOW)
    with pytest.raises(StoreError, match="is gone"):
        store.to_arrow(space=pin)


def test_a_name_keeps_one_pin(store: Store) -> None:
    pin = store.pin(keep="train-v1")
    assert store.pin(keep="train-v1") == pin
    assert len(aliases.history(store.location)) == 1
    grow(store.location, 30)
    with pytest.raises(StoreError, match=r"train-v1 points to .* at version 5 \(proteins at 2\); choose another"):
        store.pin(keep="train-v1")
    assert store.pin(pin, keep="again") == pin


SHIPPED = pa.schema(
    [
        pa.field("alias", pa.string(), nullable=False),
        pa.field("space", pa.string(), nullable=False),
        pa.field("version", pa.int64()),
        pa.field("moved_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("run", pa.string(), nullable=False),
    ]
)


def test_a_store_of_an_earlier_version_is_read_written_and_only_a_pin_changes_its_table(store: Store) -> None:
    uri = store.location.table(ALIASES_TABLE)
    moved = {"space": SPACE, "moved_at": 0, "run": "r0"}
    rows = [{**moved, "alias": "current", "version": None}, {**moved, "alias": "old", "version": 4}]
    lance.write_dataset(pa.Table.from_pylist(rows, SHIPPED), uri)

    require_columns(store.location)
    assert store.pin("old") == Pin(SPACE, 4, 2)
    aliases.move(store.location, "plain", SPACE, run="r1", writer=build.writer())
    assert open_table(uri).schema.names == SHIPPED.names

    pin = store.pin("old", keep="train-v1")

    require_columns(store.location)
    lance.write_dataset(pa.Table.from_pylist(rows[:1], SHIPPED), uri, mode="append")  # by an earlier version
    found = aliases.list_aliases(store.location)
    assert {name: (alias.version, alias.proteins) for name, alias in found.items()} == {
        "current": (None, None), "old": (4, None), "plain": (None, None), "train-v1": (4, pin.proteins)
    }  # fmt: skip


def test_a_column_of_somebody_else_is_left_alone(store: Store) -> None:
    aliases.move(store.location, "current", SPACE, run="r1", writer=build.writer())
    open_table(store.location.table(ALIASES_TABLE)).add_columns(pa.field("proteins", pa.string()))
    assert aliases.list_aliases(store.location)["current"].proteins is None
    with pytest.raises(StoreError, match="proteins: string in the table, int64 wanted"):
        store.pin(keep="train-v1")


@pytest.mark.parametrize("wrong", ["", "{", "[]", "7", '{"space": "a"}', {"space": "a", "version": 1}, None,
                                   {"space": "a", "version": "1", "proteins": 1},
                                   {"space": "a", "version": 0, "proteins": 1}])  # fmt: skip
def test_what_is_no_pin_is_said(wrong: object) -> None:
    with pytest.raises(ConfigError, match="is no pin"):
        Pin.from_json(wrong)  # type: ignore[arg-type]
