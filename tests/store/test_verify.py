"""Damage is named by table, unit and key; repair takes out that and no more."""

from __future__ import annotations

import json
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from protea_ray.errors import LeaseHeldError, UnknownSpaceError
from protea_ray.sequences.records import REJECTS_SCHEMA
from protea_ray.store import aliases, ledger
from protea_ray.store.commit import write_fragments
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location
from protea_ray.store.repair import repair
from protea_ray.store.rows import VECTORS, vector_facts
from protea_ray.store.tables import open_table
from protea_ray.store.verify import verify
from tests.store import build, rich

SPACE = "esm2-00000001"


def data_file(location: Location, unit: str) -> Path:
    """The data file that holds a unit."""
    table = open_table(location.table(SPACE))
    for fragment in table.get_fragments():
        if fragment.to_table(columns=["unit"])["unit"][0].as_py() == unit:
            return Path(location.table(SPACE)) / "data" / fragment.metadata.files[0].path
    raise AssertionError(unit)


def flip(path: Path, inside: bytes) -> None:
    """Flip one bit in the middle of `inside`, wherever the file holds it."""
    raw = bytearray(path.read_bytes())
    at = raw.index(inside) + len(inside) // 2
    raw[at] ^= 0x10
    path.write_bytes(raw)


def refill(location: Location, missing: list[int], with_residues: bool = False) -> None:
    of = build.schema(build.WIDTH if with_residues else None)
    build.fill(location, SPACE, missing, "r2.refill", of, with_residues)


def present(location: Location) -> list[bytes]:
    return sorted(k.as_py() for batch in ledger.present_keys(location, SPACE) for k in batch)


def test_a_sound_store_has_no_findings(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(20), with_residues=True)
    report = verify(location)
    assert report.findings == ()
    assert report.ok
    assert report.rows == {"proteins": 20, SPACE: 20}
    assert repair(location, dry_run=True).removals == ()
    with pytest.raises(UnknownSpaceError):
        verify(location, "nothing")


@pytest.mark.parametrize("what", ["vector", "residues", "key"])
def test_one_flipped_bit_is_found_and_mended(tmp_path: Path, what: str) -> None:
    location = build.store(tmp_path / "s", range(20), with_residues=True)
    bits = {"vector": build.vector(7).tobytes(), "residues": build.residues(7).tobytes(), "key": build.key(7)}
    flip(data_file(location, "r1.5"), bits[what])
    report = verify(location)
    (damage,) = report.damage
    assert (damage.kind, damage.table, damage.unit, damage.count) == ("checksum", SPACE, "r1.5", 1)
    if what != "key":
        assert damage.keys == (build.key(7).hex(),)
    assert not report.ok
    assert json.loads(json.dumps(report.to_json()))["findings"]
    planned = repair(location, dry_run=True)
    assert open_table(location.table(SPACE)).count_rows() == 20
    done = repair(location)
    assert done.removals == planned.removals
    assert [(r.units, r.rows) for r in done.removals] == [(("r1.5",), 5)]
    assert present(location) == sorted(build.key(n) for n in range(20) if not 5 <= n < 10)
    (missing,) = verify(location).findings
    assert (missing.kind, missing.count) == ("missing", 5)
    refill(location, list(range(5, 10)), with_residues=True)
    assert verify(location).ok


@pytest.mark.parametrize("damage", ["truncated", "footer", "gone"])
def test_a_broken_data_file_is_found_and_mended(tmp_path: Path, damage: str) -> None:
    location = build.store(tmp_path / "s", range(20))
    path = data_file(location, "r1.5")
    raw = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(raw[: len(raw) // 2] if damage == "truncated" else raw[:-20] + bytes(20))
    (found,) = verify(location).damage
    assert (found.kind, found.table, found.count) == ("unreadable", SPACE, 5)
    assert path.name in found.detail
    (removal,) = repair(location).removals
    assert removal.rows == 5
    assert present(location) == sorted(build.key(n) for n in range(20) if not 5 <= n < 10)
    refill(location, list(range(5, 10)))
    assert verify(location).ok


@pytest.mark.parametrize("damage", ["truncated", "gone"])
def test_a_broken_file_and_a_damaged_unit_at_once_are_both_mended(tmp_path: Path, damage: str) -> None:
    """The filter that takes a unit out could not read the broken file, so that goes first."""
    location = build.store(tmp_path / "s", range(20))
    flip(data_file(location, "r1.10"), build.vector(12).tobytes())
    path = data_file(location, "r1.5")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200])
    assert sorted(f.kind for f in verify(location).damage) == ["checksum", "unreadable"]
    (planned,) = repair(location, dry_run=True).removals
    (removal,) = repair(location).removals
    assert (removal.units, len(removal.fragments), removal.rows) == (("r1.10",), 1, 10)
    assert removal == planned
    refill(location, list(range(5, 15)))
    assert verify(location).findings == ()


def test_a_space_whose_widths_are_not_those_it_tells_is_damaged(rich_location: Location) -> None:
    table = open_table(rich_location.table(rich.CHUNKED))
    facts = vector_facts(table.schema)
    assert facts["widths"] == {"mean": 8, "mean_max": 16}
    facts["widths"]["mean_max"] = 17
    table.update_schema_metadata({VECTORS.decode(): json.dumps(facts)}, replace=False)
    report = verify(rich_location, rich.CHUNKED)
    (found,) = report.damage
    assert (found.kind, found.table) == ("dimension", rich.CHUNKED)
    assert "mean_max is fixed_size_list" in found.detail
    assert "have 17 values" in found.detail
    assert repair(rich_location).left == (found,)
    assert verify(rich_location, rich.WHOLE).findings == ()


def test_chunks_of_one_protein_are_not_repeats_and_a_chunk_twice_is_one(rich_location: Location) -> None:
    uri = rich_location.table(rich.CHUNKED)
    rows = open_table(uri).to_table(filter="chunk_start = 12")
    assert verify(rich_location).findings == ()
    number = next(n for n in range(20) if len(rich.spans(n)) > 2)
    again = rich.chunked_rows([number], "r2.0")
    build.writer().append_table(uri, again.slice(1, 1))
    (found,) = verify(rich_location).findings
    assert (found.kind, found.unit, found.count) == ("duplicate", "r2.0", 1)
    assert found.keys == (build.key(number).hex(),)
    assert repair(rich_location).removals[0].rows == 1
    assert verify(rich_location).findings == ()
    assert open_table(uri).to_table(filter="chunk_start = 12").num_rows == rows.num_rows


def test_a_missing_protein_is_not_damage(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    build.ingest(location, build.proteins([10, 11, 12], "b"), "b", "d2")
    reject = {"id": "x", "key": build.key(11), "source": "b", "line": 1, "stage": "embed", "reason": "r",
              "detail": "", "attempts": 1, "run": "r1", "space": SPACE}  # fmt: skip
    build.writer().append_table(location.table("rejects"), pa.Table.from_pylist([reject], REJECTS_SCHEMA))
    report = verify(location)
    (found,) = report.findings
    assert (found.kind, found.severity, found.count) == ("missing", "incomplete", 2)
    assert set(found.keys) == {build.key(10).hex(), build.key(12).hex()}
    assert not report.ok
    assert repair(location).removals == ()


def test_a_unit_committed_twice_is_found_and_mended(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    build.fill(location, SPACE, range(3), "again", build.schema())
    (found,) = verify(location).damage
    assert (found.kind, found.unit, found.count) == ("duplicate", "again", 3)
    repair(location)
    assert verify(location).ok
    assert open_table(location.table(SPACE)).count_rows() == 10


def test_what_surrounds_the_spaces_is_checked(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    write_fragments(location.table(SPACE), build.rows([30], "lost", build.schema()), build.schema())
    build.fill(location, SPACE, [40], "stranger", build.schema())
    build.writer().append_table(location.table("proteins"), build.proteins([50], "half#1"))
    wrong = build.proteins([51], "half#1").to_pylist()[0] | {"sequence": "MKV", "length": 3, "line": 3}
    build.writer().append_table(location.table("proteins"), pa.Table.from_pylist([wrong], build.PROTEINS_SCHEMA))
    aliases.move(location, "current", SPACE, version=2, run="r", writer=build.writer())
    open_table(location.table(SPACE)).cleanup_old_versions(retain_versions=1)
    found = {f.kind: f for f in verify(location).findings}
    assert set(found) == {"orphans", "no_protein", "unrecorded_source", "wrong_key", "missing", "dangling_alias"}
    assert found["wrong_key"].keys == (build.key(51).hex(),)
    assert found["no_protein"].keys == (build.key(40).hex(),)
    assert "half#1" in found["unrecorded_source"].detail
    assert found["orphans"].table == SPACE
    done = repair(location)
    assert (done.sources, done.left) == (("half#1",), ())


def test_a_table_that_does_not_open_is_a_finding(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    for manifest in (Path(location.table(SPACE)) / "_versions").glob("*.manifest"):
        manifest.write_bytes(b"not a manifest")
    (found,) = verify(location).damage
    assert (found.kind, found.table) == ("unreadable", SPACE)


def test_repair_waits_for_the_writer(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    with Lease.acquire(location), pytest.raises(LeaseHeldError):
        repair(location)
    assert lance.dataset(location.table(SPACE)).count_rows() == 10
