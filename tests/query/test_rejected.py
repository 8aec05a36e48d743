"""Rejects as a reader sees them: what is still missing, where it stands, and its letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.errors import ConfigError, StoreError, UnknownSpaceError
from protea_ray.query.reader import Store, open_store
from protea_ray.query.rejected import COLUMNS, counts_of, write_rejects
from protea_ray.sequences.records import REJECTS_SCHEMA
from protea_ray.store.spaces import ensure_space
from tests.store import build

SPACE = "esm2-00000001"


def reject(**fields: Any) -> dict[str, Any]:
    usual = {"id": "x", "key": None, "source": "a.fasta#1", "line": 7, "stage": "ingest", "reason": "illegal_letter",
             "detail": "letter '-', residue 4", "attempts": 1, "run": "r1", "space": None}  # fmt: skip
    return {**usual, **fields}


def embedding(number: int, space: str = SPACE, **fields: Any) -> dict[str, Any]:
    usual = {"id": f"P{number:05d}", "key": build.key(number), "line": number, "stage": "embed", "space": space,
             "reason": "too_long", "detail": "600 residues, max_residues is 500"}  # fmt: skip
    return reject(**{**usual, **fields})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Proteins 0 to 4 in a space, 5 to 7 in none; 3 was rejected once and stored later, 5 was rejected twice."""
    location = build.store(tmp_path_factory.mktemp("rejects") / "s", range(5))
    build.ingest(location, build.proteins([5, 6, 7], "b.fasta#2"), "b.fasta#2", "d2")
    ensure_space(location, build.info("other"), build.schema())
    rows = [reject(), reject(source="gone.fasta#3", line=9, reason="empty_sequence", detail="no residues"),
            embedding(3), embedding(5, reason="out_of_memory"), embedding(5, attempts=2), embedding(6),
            embedding(6, "other")]  # fmt: skip
    build.writer().append_table(location.table("rejects"), pa.Table.from_pylist(rows, REJECTS_SCHEMA))
    return open_store(location.uri)


def test_each_reject_has_its_file_line_and_reason_once(store: Store) -> None:
    rows = store.rejects()
    assert rows.schema.names == list(COLUMNS)
    where = [(row["file"], row["line"], row["id"], row["reason"], row["space"]) for row in rows.to_pylist()]
    assert where == [
        ("/data/a.fasta", 7, "x", "illegal_letter", None),
        ("gone.fasta", 9, "x", "empty_sequence", None),
        ("/data/a.fasta", 5, "P00005", "too_long", SPACE),
        ("/data/a.fasta", 6, "P00006", "too_long", SPACE),
        ("/data/a.fasta", 6, "P00006", "too_long", "other"),
    ]
    assert counts_of(rows) == {"too_long": 3, "empty_sequence": 1, "illegal_letter": 1}


def test_a_space_and_a_reason_choose(store: Store) -> None:
    assert store.rejects(space="other")["id"].to_pylist() == ["x", "x", "P00006"]
    assert store.rejects(space="other", reason="too_long")["id"].to_pylist() == ["P00006"]
    assert len(store.rejects(reason="kills_worker")) == 0
    with pytest.raises(ConfigError, match="no reason 'long'; there are empty_sequence, illegal_letter"):
        store.rejects(reason="long")
    with pytest.raises(UnknownSpaceError, match="nope"):
        store.rejects(space="nope")


def test_a_store_without_rejects_has_none(tmp_path: Path) -> None:
    assert len(open_store(build.store(tmp_path / "s", range(2)).uri).rejects()) == 0


def test_letters_are_written_once_and_the_others_are_counted(store: Store, tmp_path: Path) -> None:
    done = write_rejects(store.location, store.rejects(), tmp_path / "r.fasta")
    assert (done.rows, done.left_out) == (2, 2)
    lines = (tmp_path / "r.fasta").read_text().splitlines()
    assert lines[0] == ">P00005 too_long: 600 residues, max_residues is 500"
    assert "".join(lines[1:]).split(">")[0] == build.sequence(5)
    with pytest.raises(StoreError, match="those of 1 rejects were never stored"):
        write_rejects(store.location, store.rejects(reason="illegal_letter"), tmp_path / "i.fasta")
    assert [item.name for item in tmp_path.iterdir()] == ["r.fasta"]


def test_a_table_has_every_reject_and_other_endings_are_refused(store: Store, tmp_path: Path) -> None:
    assert write_rejects(store.location, store.rejects(), tmp_path / "r.parquet").rows == 5
    assert pq.read_table(tmp_path / "r.parquet")["line"].to_pylist() == [7, 9, 5, 6, 6]
    with pytest.raises(ConfigError, match=r"\.npz holds vectors"):
        write_rejects(store.location, store.rejects(), tmp_path / "r.npz")
