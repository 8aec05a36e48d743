"""An id that a person asks for is the protein that was meant, and its newest sequence; anything else is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.errors import StoreError
from protea_ray.query import lookup
from protea_ray.query.lookup import newest_rows
from protea_ray.query.reader import Store, open_store
from protea_ray.query.view import missing
from tests.store import build

SPACE = "esm2-00000001"
IDS = ("sp|P05067|A4_HUMAN", "pdb|1IYT|A", "lcl|g1", "ref|YP_009724390.1|", "Q6GZX4", "sp|Q6GZX4|001R_FRG3G",
       "sp|P0C0S5|H2AZ_HUMAN", "tr|P0C0S5|OTHER", "sp|O60341-2|KDM1A_HUMAN")  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Nine proteins under whole headers, with residues; P05067 was corrected from protein 0 to 30, A4 is the last."""
    location = build.store(tmp_path_factory.mktemp("lookup") / "s", [], with_residues=True)
    of = build.schema(build.WIDTH)
    build.ingest(location, build.proteins(range(9), "first.fasta#1", ids=IDS), "first.fasta#1", "d1")
    build.fill(location, SPACE, range(9), "r1.0", of, True)
    build.ingest(location, build.proteins([30], "second.fasta#2", ids=IDS[:1]), "second.fasta#2", "d2")
    build.fill(location, SPACE, [30], "r2.0", of, True)
    return open_store(location.uri)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("asked", "stored"),
    [("1IYT_A", "pdb|1IYT|A"), ("g1", "lcl|g1"), ("YP_009724390", "ref|YP_009724390.1|"), ("Q6GZX4", "Q6GZX4"),
     ("tr|Q6GZX4|NEW", "Q6GZX4"), ("H2AZ_HUMAN", "sp|P0C0S5|H2AZ_HUMAN"), ("O60341-2", "sp|O60341-2|KDM1A_HUMAN")],
)  # fmt: skip
def test_few_ids_and_many_are_looked_up_alike(
    store: Store, monkeypatch: pytest.MonkeyPatch, asked: str, stored: str, many: bool
) -> None:
    if asked.startswith("tr|"):
        with pytest.raises(StoreError, match=r"may be Q6GZX4 or sp\|Q6GZX4"):
            store.get(asked)
        return
    if many:
        monkeypatch.setattr(lookup, "_IDS_OF_ONE_FILTER", 0)
    assert store.get(asked)["id"].to_pylist() == [stored]


def test_how_an_id_was_understood_is_logged(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    table = store.get(["g1", "Q6GZX4", "YP_009724390.2", "O60341"])
    assert table["id"].to_pylist() == ["lcl|g1", "Q6GZX4"]
    assert missing(table)["unknown"] == ["YP_009724390.2", "O60341"]
    for said in (
        "1 of 4 ids were matched by accession (g1 is lcl|g1)",
        "Q6GZX4 is also the accession of sp|Q6GZX4|001R_FRG3G",
        "'YP_009724390.2' is not in the store (another version or isoform is: ref|YP_009724390.1|)",
        "'O60341' is not in the store (another version or isoform is: sp|O60341-2|KDM1A_HUMAN)",
    ):
        assert said in caplog.text
    caplog.clear()
    store.get(["lcl|g1", "pdb|1IYT|A"])
    assert not caplog.records


def test_an_accession_of_two_proteins_is_never_picked(store: Store, tmp_path: Path) -> None:
    for ask in (store.get, store.nearest, store.residues, lambda id: store.export(tmp_path / "v.npz", ids=[id])):
        with pytest.raises(StoreError, match=r"sp\|P0C0S5\|H2AZ_HUMAN or tr\|P0C0S5\|OTHER. Ask for the whole id"):
            ask("P0C0S5")
    assert not list(tmp_path.iterdir())


def test_an_unknown_id_is_shown_what_ids_look_like(store: Store) -> None:
    with pytest.raises(StoreError, match=r"no protein with the id 'Q99999'; its ids look like 'sp\|P05067\|A4_HUMAN'"):
        store.nearest("Q99999")
    with pytest.raises(StoreError, match=r"another version or isoform is: ref\|YP_009724390.1\|"):
        store.residues("YP_009724390.7")


def test_a_corrected_sequence_is_the_one_that_is_used(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = len(build.sequence(0)), len(build.sequence(30))
    assert store.get("P05067", columns=["length"])["length"].to_pylist() == [new]
    said = f"sp|P05067|A4_HUMAN ({old} and {new} residues; that of {new}, from second.fasta#2)"
    assert said in caplog.text
    every = store.get("P05067", columns=["length", "mean"], all_sequences=True)
    assert every["length"].to_pylist() == [old, new]
    assert every.column_names == ["id", "key", "length", "mean"]
    assert np.array_equal(store.residues("P05067")[:], build.residues(30))
    store.export(tmp_path / "v.parquet", ids=["A4_HUMAN", "lcl|g1"])
    assert pq.read_table(tmp_path / "v.parquet")["length"].to_pylist() == [len(build.sequence(2)), new]
    assert store.to_arrow(where="id = 'sp|P05067|A4_HUMAN'").num_rows == 2


def test_nearest_asks_with_the_newest_and_names_the_older_among_its_neighbours(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    found = store.nearest("P05067", k=9)
    expected = sorted(range(9), key=lambda n: -float(build.vector(n) @ build.vector(30)))
    assert found["key"].to_pylist() == [build.key(n) for n in expected]
    rank = expected.index(0) + 1
    assert f"neighbour {rank} of P05067 is P05067 itself, with another of its sequences" in caplog.text


def test_the_newest_is_by_source_and_a_vector_comes_first() -> None:
    keys = pa.array([b"a", b"b", b"x", b"c", b"a"])
    owner = np.array([0, 0, 1, 0, 0])
    for added, has, kept in (
        ([1, 2, 1, 3, 1], [1, 1, 0, 1, 1], [3]),  # the last source
        ([1, 2, 1, 3, 4], [1, 1, 0, 1, 1], [0, 4]),  # back to the first letters: both records of them
        ([1, 2, 1, 3, 1], [1, 1, 0, 0, 1], [1]),  # the newest has no vector
        ([1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [3]),  # one source: the last record
        ([1, 2, 1, 3, 1], [0, 0, 0, 0, 0], [3]),
    ):
        found = newest_rows(owner, keys, np.array(added), np.array(has, bool))
        assert np.flatnonzero(found).tolist() == sorted([2, *kept])
