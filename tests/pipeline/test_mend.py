"""A store that lost records, or whose source was forgotten, is whole again after the same inputs are embedded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

import protea_ray
from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.errors import StoreError
from protea_ray.pipeline import embed as embedding
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.embed import embed
from protea_ray.store.location import open_location
from protea_ray.store.repair import repair
from protea_ray.store.verify import verify
from tests import stores
from tests.toy import ToySpec

ON_CLUSTER = pytest.mark.usefixtures("cluster")
OLD = (
    ">up7 first\nMKTAYIAKQRQISFVKSH\n>up8\nGSHMLEDPVAGKW\n>both\nMSTNPKPQRKTKRN\n>bad\nMK-T\n>long\n"
    + 40 * "MKWVTF"
    + "\n"
)
NEW = ">both\nMSTNPKPQRKTKRN\n>up9\nMAHHHHHHVDDDDK\n>bad2\nM1\n"


def run(store: Path, model: Path, *inputs: Path) -> Summary:
    fields = {"model": str(model), "max_residues": 100, "on_long": "reject"}
    return embed([str(i) for i in inputs], str(store), run_config(fields), LineReporter(), ToySpec)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, esm2: Path, cluster: None) -> tuple[Path, Path, Path]:
    """Two files, and a store that holds both: 4 proteins, 2 records rejected when read and 1 when embedded."""
    folder = tmp_path_factory.mktemp("mend")
    files = folder / "old.fasta", folder / "new.fasta"
    for file, text in zip(files, (OLD, NEW), strict=True):
        file.write_text(text)
    count = run(folder / "store", esm2, *files).spaces[0]
    assert (count.stored, count.duplicate, count.rejected) == (4, 1, 3)
    return (*files, folder / "store")


@pytest.fixture
def store(made: tuple[Path, Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[2], tmp_path / "store"))


@ON_CLUSTER
def test_a_forgotten_source_is_ingested_anew(made: tuple[Path, Path, Path], store: Path, esm2: Path) -> None:
    old, new, _ = made
    before = stores.vectors(store)

    done = protea_ray.forget(store, old)

    assert (done.proteins, done.rejects, done.keys, list(done.vectors.values())) == (4, 2, 3, [2])
    assert verify(open_location(store)).findings == ()
    assert len(stores.vectors(store)) == 2
    with pytest.raises(StoreError, match="has no source"):
        protea_ray.forget(store, old)
    count = run(store, esm2, old, new).spaces[0]
    assert (count.stored, count.duplicate, count.rejected, count.already_present) == (2, 0, 3, 3)
    again = stores.vectors(store)
    assert again.keys() == before.keys()
    assert all((again[key] == before[key]).all() for key in before)
    assert verify(open_location(store)).findings == ()


@ON_CLUSTER
@pytest.mark.parametrize("lost", ["proteins", "sources", "rejects", "rows of proteins"])
def test_lost_records_come_back_and_no_vector_is_computed_again(
    made: tuple[Path, Path, Path], store: Path, esm2: Path, lost: str
) -> None:
    location, version = open_location(store), stores.version(stores.space(store))
    if lost == "rows of proteins":
        lance.dataset(location.table("proteins")).delete("line > 2")
    else:
        shutil.rmtree(location.table(lost))
    assert not verify(location).ok

    assert len(repair(location).sources) == 2
    count = run(store, esm2, *made[:2]).spaces[0]

    assert (count.stored, count.already_present + count.duplicate, count.rejected) == (0, 5, 3)
    assert {f.kind for f in verify(location).findings} <= {"orphans"}
    assert stores.version(stores.space(store)) == version


@ON_CLUSTER
def test_new_proteins_are_embedded_into_tables_with_added_columns(store: Path, esm2: Path, tmp_path: Path) -> None:
    for table in store.glob("*.lance"):
        lance.dataset(str(table)).add_columns(pa.field("curated", pa.string()))
    more = tmp_path / "more.fasta"
    more.write_text(">up10\nMWWLLKKRRTTG\n>bad3\n1\n")

    count = run(store, esm2, more).spaces[0]

    assert (count.stored, count.rejected) == (1, 1)
    assert verify(open_location(store)).findings == ()
    assert protea_ray.open_store(store).get("up10")["length"].to_pylist() == [12]


def test_a_column_that_stops_all_embedding_is_named_before_anything_starts(
    tmp_path: Path, esm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.store import build

    location = build.store(tmp_path / "s", range(3))
    lance.dataset(location.table("proteins")).add_columns({"organism": "'unknown'"})
    fasta = tmp_path / "a.fasta"
    fasta.write_text(">a\nMKT\n")
    started: list[Any] = []
    no_ray: Callable[..., Any] = started.append
    monkeypatch.setattr(embedding, "connect", no_ray)

    with pytest.raises(StoreError, match=r"drop_columns\(\[\"organism\"\]\)"):
        run(Path(location.uri), esm2, fasta)
    assert started == []
