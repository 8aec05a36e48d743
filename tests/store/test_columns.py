"""A column that somebody added to a table stays: new rows have nulls in it, or it is said why not."""

from __future__ import annotations

import lance
import pyarrow as pa
import pytest

from protea_ray.errors import StoreError
from protea_ray.query.reader import open_store
from protea_ray.sequences.records import PROTEINS_SCHEMA
from protea_ray.store import aliases
from protea_ray.store.columns import require_columns
from protea_ray.store.commit import write_fragments
from protea_ray.store.lease import Lease
from protea_ray.store.location import Location
from protea_ray.store.repair import repair
from protea_ray.store.runs import last_run, record_run
from protea_ray.store.spaces import ensure_space
from protea_ray.store.tables import ensure_table, open_table
from protea_ray.store.upkeep import upkeep
from protea_ray.store.verify import verify
from tests.store import build, rich

ADDED = {
    "text": pa.string(),
    "number": pa.float64(),
    "nested": pa.struct([("taxon", pa.int32()), ("names", pa.list_(pa.string()))]),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "vector": pa.list_(pa.float32(), 4),
}


def add(location: Location, kind: pa.DataType) -> None:
    """Add the column `mine` to every table, with a value in the first rows of the proteins."""
    for name in location.tables():
        open_table(location.table(name)).add_columns(pa.field("mine", kind))


@pytest.mark.parametrize("kind", ADDED)
def test_every_table_takes_rows_and_the_store_goes_on(rich_location: Location, kind: str) -> None:
    location = rich_location
    add(location, ADDED[kind])
    require_columns(location)

    with Lease.acquire(location):
        rich.ingest(location, "/data/c.fasta#c0de", [30, 31])
        of = build.schema(build.WIDTH)
        assert ensure_space(location, build.info(rich.WHOLE), of).name == rich.WHOLE
        rich.append(location, rich.WHOLE, build.rows([30, 31], "r2.0", of, with_residues=True))
        rich.append(location, rich.CHUNKED, rich.chunked_rows([30, 31], "r2.0"))
        aliases.move(location, "current", rich.CHUNKED, run="r2", writer=build.writer())
        record_run(location, "r2", {}, writer=build.writer())

    assert {(f.kind, f.table) for f in verify(location).findings} == {("missing", rich.TAKEN)}
    assert open_table(location.table("proteins")).to_table(filter="line < 4", columns=["mine"])["mine"].null_count == 6
    assert aliases.list_aliases(location)["current"].space == rich.CHUNKED
    run = last_run(location)
    assert run is not None
    assert run["run"] == "r2"
    assert open_store(location.uri).residues("P00030", space=rich.WHOLE)[0:3].tobytes() == (
        build.residues(30)[0:3].tobytes()
    )
    assert upkeep(location)
    assert repair(location).removals == ()
    assert open_table(location.table(rich.WHOLE)).to_table(columns=["mine"])["mine"].null_count == 22


def test_values_of_the_column_are_kept(rich_location: Location) -> None:
    uri = rich_location.table("proteins")
    open_table(uri).add_columns(pa.field("organism", pa.string()))
    open_table(uri).update({"organism": "concat('of ', id)"})
    rich.ingest(rich_location, "/data/c.fasta#c0de", [30])
    open_table(uri).optimize.compact_files()
    rows = {r["id"]: r["organism"] for r in open_table(uri).to_table(columns=["id", "organism"]).to_pylist()}
    assert rows == {f"P{n:05d}": f"of P{n:05d}" for n in range(20)} | {"P00030": None}


def test_a_stream_of_rows_is_filled_as_a_table_is(rich_location: Location) -> None:
    add(rich_location, pa.string())
    uri, rows = rich_location.table("proteins"), build.proteins(range(40, 50), "s")

    def opened() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(PROTEINS_SCHEMA, rows.to_batches(max_chunksize=3))

    build.writer().append(uri, write_fragments(uri, opened, PROTEINS_SCHEMA))
    stored = open_table(uri).to_table(filter="source = 's'")
    assert stored.drop_columns(["mine"]).equals(rows)
    assert stored["mine"].null_count == 10


def test_a_column_that_may_not_be_null_is_named_with_both_ways_out(rich_location: Location) -> None:
    uri = rich_location.table("proteins")
    open_table(uri).add_columns({"organism": "'unknown'", "tax": "length + 1"})
    open_table(rich_location.table("runs")).add_columns({"host": "'here'"})
    with pytest.raises(StoreError) as caught:
        require_columns(rich_location)
    said = str(caught.value)
    assert "can be read, but takes no more rows: the added columns organism, tax may not be null" in said
    assert 'drop_columns(["organism", "tax"])' in said
    assert '{"path": "organism", "nullable": True}, {"path": "tax", "nullable": True}' in said
    assert 'drop_columns(["host"])' in said
    with pytest.raises(StoreError, match="takes no more rows"):
        rich.ingest(rich_location, "/data/c.fasta#c0de", [30])
    assert len(open_store(rich_location.uri).where("organism = 'unknown'")) == 24
    assert verify(rich_location).findings == ()

    lance.dataset(uri).alter_columns({"path": "organism", "nullable": True}, {"path": "tax", "nullable": True})
    lance.dataset(rich_location.table("runs")).drop_columns(["host"])
    require_columns(rich_location)
    rich.ingest(rich_location, "/data/c.fasta#c0de", [30])
    assert open_table(uri).count_rows("organism IS NULL") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "description", "name": "title"}, "description: missing in the table, string wanted"),
        ({"path": "line", "data_type": pa.int32()}, "line: int32 in the table, int64 wanted"),
    ],
)
def test_a_column_of_ours_that_was_changed_is_refused(
    rich_location: Location, change: dict[str, object], said: str
) -> None:
    open_table(rich_location.table("proteins")).alter_columns(change)
    for attempt in (
        lambda: require_columns(rich_location),
        lambda: ensure_table(rich_location.table("proteins"), PROTEINS_SCHEMA),
    ):
        with pytest.raises(StoreError, match=said):
            attempt()
