"""A store as Python's containers are, and what a notebook shows of it; verify, drift and aliases from Python."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pytest

from protea_ray.errors import ConfigError, StoreError, UnknownSpaceError
from protea_ray.query.reader import Store, open_store
from protea_ray.store import aliases
from protea_ray.store.forget import forget
from protea_ray.store.pointing import point
from protea_ray.store.spaces import ensure_space
from tests.store import build

SPACE, OTHER = "esm2-00000001", "esm2-00000002"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Five proteins in two spaces; a second sequence of P00003 and a seventh record have no vector."""
    location = build.store(tmp_path / "s", range(5))
    build.ingest(location, build.proteins([9], "b.fasta#2", ids=["P00003"]), "b.fasta#2", "d2")
    build.ingest(location, build.proteins([10], "c.fasta#3", ids=["sp|Q12345|NAME_HUMAN"]), "c.fasta#3", "d3")
    ensure_space(location, build.info(OTHER), build.schema())
    build.fill(location, OTHER, range(5), "u", build.schema())
    aliases.move(location, "current", SPACE, run="r1", writer=build.writer())
    return open_store(location.uri)


def test_length_and_iteration_are_of_the_same_records(store: Store) -> None:
    assert len(store) == 7 == store.status().proteins
    assert list(store) == [*(f"P{n:05d}" for n in range(5)), "P00003", "sp|Q12345|NAME_HUMAN"]


def test_ids_and_accessions_are_in_the_store_and_nothing_else_is(store: Store) -> None:
    assert "P00004" in store and "sp|Q12345|NAME_HUMAN" in store and "Q12345" in store
    for absent in ("P00005", "", "'; --", 3, None, build.key(1)):
        assert absent not in store


def test_a_protein_by_its_id_has_its_own_vector(store: Store) -> None:
    found = store["P00002"]
    assert list(found) == ["id", "key", "length", "description", "mean"]
    assert (found["id"], found["key"], found["length"]) == ("P00002", build.key(2), len(build.sequence(2)))
    assert found["mean"].shape == (build.WIDTH,)
    assert np.array_equal(found["mean"], build.vector(2))


@pytest.mark.parametrize(
    ("asked", "said"), [("NOPE", "no protein with the id 'NOPE'"), ("Q12345", "has no vector"), (0, "not by 0")]
)
def test_what_is_not_there_is_said(store: Store, asked: object, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        _ = store[asked]  # type: ignore[index]


def test_the_line_of_a_store_counts_and_names_current(store: Store) -> None:
    assert repr(store) == f"Store({store.uri!r}: 7 protein records, 2 spaces, current -> {SPACE})"
    assert len(repr(store.status())) < 1000


def test_an_unreadable_store_still_has_a_line(store: Store) -> None:
    for file in (Path(store.uri) / "proteins.lance").rglob("*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    assert repr(store) == f"Store({store.uri!r})"
    assert html.unescape(store._repr_html_()) == repr(store)
    assert store, "there is one, readable or not"


def test_an_alias_is_moved_from_python(store: Store) -> None:
    moved = store.point("current", OTHER)
    assert (moved.alias, moved.space, moved.version) == ("current", OTHER, None)
    assert store.pin().space == OTHER
    store.point("before", SPACE, version=1)
    assert store.pin("before").version == 1
    with pytest.raises(UnknownSpaceError, match=OTHER):
        store.point("current", "nothing")
    with pytest.raises(StoreError, match="name of a table"):
        store.point("proteins", SPACE)
    with pytest.raises(StoreError, match="name of a table"):
        point(store.location, "proteins", SPACE, dry_run=True)
    assert point(store.location, "current", SPACE, dry_run=True).space == SPACE
    assert aliases.list_aliases(store.location)["current"].space == OTHER


def test_two_spaces_are_compared_from_python(store: Store) -> None:
    found = store.drift("current", OTHER, sample=5)
    assert (found.a.space, found.b.space, found.shared) == (SPACE, OTHER, 5)
    assert found.whole.cosine_mean == pytest.approx(1)
    lines = repr(found).split("\n")
    assert lines[0] == f"A: {SPACE} at version 2 (m), 5 proteins"
    assert lines[2].split()[:2] == ["residues", "proteins"] and lines[3].split()[:2] == ["all", "5"]
    assert f"<caption>{lines[0]}; B: {OTHER}" in found._repr_html_()
    with pytest.raises(ConfigError, match="max"):
        store.drift("current", OTHER, pooling="max")


def test_a_store_is_verified_from_python(store: Store) -> None:
    report = store.verify("current")
    assert not report.ok
    assert [(f.kind, f.table, f.count) for f in report.findings if f.kind == "missing"] == [("missing", SPACE, 2)]
    with pytest.raises(UnknownSpaceError):
        store.verify("nothing")


def test_what_a_removal_took_out_is_readable(store: Store) -> None:
    would = repr(forget(store.location, "b.fasta#2", dry_run=True)).split("\n")
    assert would[:3] == ["would be forgotten", "  sources:  b.fasta#2", "  proteins: 1"]


def test_results_are_tables_of_other_libraries_too(store: Store) -> None:
    frame = store.get(["P00002", "P00001"]).to_pandas()
    assert frame["id"].tolist() == ["P00002", "P00001"]
    assert np.array_equal(np.stack(frame["mean"].to_list()), [build.vector(2), build.vector(1)])
