"""Care for the results of evaluations: damage is found and named, and every way out ends sound."""

from __future__ import annotations

import math
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from protea_ray.errors import StoreError
from protea_ray.store import aliases
from protea_ray.store.columns import require_columns, require_results_fit
from protea_ray.store.commit import write_fragments
from protea_ray.store.evaluations import EVALUATIONS
from protea_ray.store.findings import DAMAGED, SOUND, Finding
from protea_ray.store.location import Location
from protea_ray.store.next_command import ways_out
from protea_ray.store.repair import repair
from protea_ray.store.runs import record_run
from protea_ray.store.spaces import ensure_space
from protea_ray.store.tables import count_rows, open_table
from protea_ray.store.upkeep import drop_space, upkeep
from protea_ray.store.verify import verify
from tests import commands
from tests.store import build, results

A, B, C = "a" * 16, "b" * 16, "c" * 16
OF_A_CELL = len(results.rows(A))


def store(root: Path, *tables: pa.Table) -> Location:
    """A sound store of ten proteins, with these rows in its table of evaluations, a commit each."""
    location = build.store(root / "s", range(10))
    aliases.move(location, "current", "esm2-00000001", run="r1", writer=build.writer())
    record_run(location, "r1", {"stored": 10}, writer=build.writer())
    append(location, tables)
    return location


def append(location: Location, tables: Sequence[pa.Table]) -> None:
    for table in tables:
        build.writer().append_table(location.table("evaluations"), table)


def findings(location: Location) -> dict[str, Finding]:
    return {f.kind: f for f in verify(location).findings if f.table == "evaluations"}


def cells(location: Location) -> set[str]:
    return set(open_table(location.table("evaluations")).to_table(["cell"])["cell"].to_pylist())


def carry_out(location: Location) -> list[str]:
    """Do what verify says, to the letter; returns the lines. The store is sound afterwards."""
    lines = ways_out(location, verify(location))
    for line in lines:
        if line.startswith("mv "):
            subprocess.run(line, shell=True, check=True)
        else:
            assert commands.call(*shlex.split(line)[1:]).returncode == 0, line
    assert verify(location).state == SOUND, verify(location).findings
    return lines


def test_results_are_counted_and_a_space_that_is_gone_is_history(tmp_path: Path) -> None:
    location = store(tmp_path, results.rows(A), results.rows(B, space="dropped-00000009"))
    report = verify(location)
    assert (report.state, report.findings) == (SOUND, ())
    assert report.rows["evaluations"] == 2 * OF_A_CELL


def test_a_store_without_the_table_is_as_before(tmp_path: Path) -> None:
    location = store(tmp_path)
    report = verify(location)
    assert (report.state, report.findings) == (SOUND, ())
    assert "evaluations" not in report.rows
    require_results_fit(location)
    assert "evaluations" not in {t.table for t in upkeep(location)}
    assert not location.exists("evaluations")


def test_a_cell_that_is_there_twice_goes_and_the_others_stay(tmp_path: Path) -> None:
    location = store(tmp_path, results.rows(A), results.rows(B), results.rows(A)[:3])
    found = findings(location)
    assert set(found) == {"duplicate"}
    assert (found["duplicate"].unit, found["duplicate"].count) == (A, 3)
    assert verify(location).state == DAMAGED
    assert repair(location, dry_run=True).removals[0].rows == OF_A_CELL + 3
    assert carry_out(location) == [f"protea-ray repair {location.uri}"]
    assert cells(location) == {B}


@pytest.mark.parametrize(
    "changes",
    [{"value": math.nan}, {"value": -math.inf}, {"resampled": [0.5, math.inf]}],
    ids=["value NaN", "value Inf", "resampled Inf"],
)
def test_a_cell_with_a_value_that_is_not_finite_goes(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A value that is null and a draw that is NaN are results: what is measured is not defined there."""
    location = store(tmp_path, results.rows(A), results.rows(B, **changes)[:2], results.rows(C))
    found = findings(location)
    assert set(found) == {"non_finite"}
    assert (found["non_finite"].unit, found["non_finite"].count) == (B, 2)
    assert carry_out(location) == [f"protea-ray repair {location.uri}"]
    assert cells(location) == {A, C}


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("part", ["data", "_versions"])
def test_a_table_that_cannot_be_read_is_moved_out_and_nothing_else_is_done(
    tmp_path: Path, part: str, damage: str
) -> None:
    location = store(tmp_path, results.rows(A), results.rows(B))
    folder = Path(location.table("evaluations"))
    files = sorted((folder / part).iterdir())
    for path in files if (part, damage) == ("_versions", "gone") else files[:1]:  # newest first: names count down
        DAMAGES[damage](path)
    assert verify(location).state == DAMAGED
    lines = carry_out(location)
    assert lines == [shlex.join(["mv", str(folder), f"{folder}.damaged"])]


def test_columns_that_another_program_changed(tmp_path: Path) -> None:
    """A run that embeds writes no results, so it goes on; an evaluation is told before it computes anything."""
    location = store(tmp_path, results.rows(A))
    table = open_table(location.table("evaluations"))
    table.add_columns(pa.field("mine", pa.string()))
    require_results_fit(location)
    assert verify(location).findings == ()
    table.drop_columns(["metric"])
    require_columns(location)
    with pytest.raises(StoreError, match=r"metric: missing in the table, string wanted"):
        require_results_fit(location)
    assert "metric: missing" in findings(location)["unreadable"].detail


def test_upkeep_merges_results_and_foretells_it(tmp_path: Path) -> None:
    location = store(tmp_path, *(results.rows(f"{n:016x}") for n in range(12)))
    before = repr(open_table(location.table("evaluations")).to_table().to_pylist())  # NaN equals NaN
    later = {"keep": timedelta(0), "now": lambda: datetime.now() + timedelta(minutes=1)}
    planned, done = (
        {t.table: t for t in upkeep(location, dry_run=dry, **later)}["evaluations"] for dry in (True, False)
    )
    assert (
        (planned.fragments_before, planned.fragments_after) == (done.fragments_before, done.fragments_after) == (12, 1)
    )
    assert (planned.versions_removed, planned.files_removed) == (done.versions_removed, done.files_removed)
    assert done.files_removed == 12
    assert repr(open_table(location.table("evaluations")).to_table().to_pylist()) == before
    assert verify(location).findings == ()


def test_upkeep_leaves_a_commit_that_is_under_way(tmp_path: Path) -> None:
    """Evaluations are written without the lease: files that no version names yet may be named a moment later."""
    location = store(tmp_path, results.rows(A))
    uri = location.table("evaluations")
    fragments = write_fragments(uri, results.rows(B), EVALUATIONS)
    lost = write_fragments(location.table("proteins"), build.proteins([50]), build.proteins([50]).schema)
    assert lost
    assert {f.table for f in verify(location).findings if f.kind == "orphans"} == {"proteins"}
    upkeep(location, keep=timedelta(0))
    assert verify(location).findings == ()
    build.writer().append(uri, fragments)
    assert cells(location) == {A, B}
    assert count_rows(uri) == 2 * OF_A_CELL
    assert verify(location).findings == ()


def test_a_space_is_dropped_and_its_results_stay(tmp_path: Path) -> None:
    location = store(tmp_path, results.rows(A, space="second"))
    ensure_space(location, build.info("second"), build.schema())
    drop_space(location, "second")
    assert cells(location) == {A}
    shutil.rmtree(location.table("evaluations"))  # gone as a whole: nothing speaks of it, so nothing is missed
    assert verify(location).state == SOUND
