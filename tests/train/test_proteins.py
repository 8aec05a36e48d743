"""Proteins of a table and of a store: the same object, and every mistake of a table in words."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protea_ray.errors import ConfigError, InputError, StoreError
from protea_ray.sequences.records import KEY, key_of
from protea_ray.store.location import Location, open_location
from protea_ray.train.letter_blocks import StoreLetters
from protea_ray.train.proteins import from_store, from_table, token_lookup
from tests.store import build
from tests.train.vocabularies import TOKENS, esm2_alphabet


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """600 records of 500 distinct proteins."""
    found = open_location(tmp_path_factory.mktemp("train") / "store")
    build.ingest(found, build.proteins([*range(300), *range(50, 100), 1, *range(300, 500), *range(50, 99)]))
    return found


def test_a_store_gives_each_protein_once_in_row_order(location: Location) -> None:
    proteins = from_store(location.uri)
    texts = [build.sequence(i) for i in range(500)]
    assert len(proteins) == 500 and proteins.duplicates == 100
    assert proteins.sequences(np.arange(500)) == texts
    assert proteins.lengths.tolist() == list(map(len, texts)) and proteins.lengths.dtype == np.int64
    assert proteins.keys.to_pylist() == [key_of(t) for t in texts]
    assert proteins.digest == hashlib.sha256(b"".join(key_of(t) for t in texts)).hexdigest()
    assert proteins.pin == {"uri": location.uri, "version": proteins.pin["version"], "digest": proteins.digest}
    assert not proteins.is_split and not proteins.split.any()


def test_a_table_of_the_same_proteins_is_the_same(location: Location, tmp_path: Path) -> None:
    store = from_store(location.uri)
    ids = store.ids(np.arange(500))
    table = pa.table({"id": ids, "sequence": store.sequences(np.arange(500))})
    pq.write_table(table, tmp_path / "proteins.parquet")
    for one in (
        from_table(table),
        from_table(tmp_path / "proteins.parquet"),
        from_table(str(tmp_path / "proteins.parquet")),
    ):
        assert one.digest == store.digest
        some = np.array([499, 0, 256, 0, 255])
        assert one.sequences(some) == store.sequences(some)
        assert one.ids(some) == store.ids(some) == [ids[i] for i in some]
        assert one.lengths.tolist() == store.lengths.tolist()


def test_a_version_is_read_however_the_store_grows(tmp_path: Path) -> None:
    location = open_location(tmp_path / "store")
    build.ingest(location, build.proteins(range(20)))
    first = from_store(location.uri)
    build.ingest(location, build.proteins(range(20, 30), source="b.fasta#1"), source="b.fasta#1", digest="d2")
    assert len(from_store(location.uri)) == 30
    lance.dataset(location.table("proteins")).delete("id = 'P00019'")
    again = from_store(location.uri, version=first.pin["version"])
    assert again.pin == first.pin and again.sequences([19]) == [build.sequence(19)]
    assert first.sequences(range(20)) == [build.sequence(i) for i in range(20)]
    assert len(from_store(location.uri, filter="source = 'b.fasta#1'")) == 10
    assert len(from_store(location.uri, filter="length > 1000 OR source = 'b.fasta#1'")) == 10


def test_structure_letters_are_no_training_data(tmp_path: Path) -> None:
    location = open_location(tmp_path / "store")
    build.ingest(location, build.proteins(range(5)))
    label = "s.fasta#1,alphabet=3di"
    build.ingest(location, build.proteins(range(5, 9), source=label), source=label, digest="d2")
    assert len(from_store(location.uri)) == 5


def test_blocks_are_read_again_when_few_are_kept(location: Location) -> None:
    whole = from_store(location.uri)
    rows = whole.letters
    assert isinstance(rows, StoreLetters)
    small = StoreLetters(rows.location, rows.version, rows.row_ids, kept=10)
    order = np.random.default_rng(0).permutation(500)[:60]
    assert [small.of(i).tobytes().decode() for i in order] == whole.sequences(order)
    assert len(small._blocks) == 1
    sent = copy.deepcopy(whole)  # as Ray sends it to its tasks: without what was read
    assert isinstance(sent.letters, StoreLetters) and not sent.letters._blocks
    assert sent.sequences([7, 300]) == whole.sequences([7, 300])


def test_mistakes_of_a_store_are_typed(location: Location, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        from_store(tmp_path / "nothing")
    with pytest.raises(StoreError, match="version 99"):
        from_store(location.uri, version=99)
    with pytest.raises(ConfigError, match="Columns: id, key, length"):
        from_store(location.uri, filter="colour = 1")
    with pytest.raises(ConfigError, match="no protein that passes 'length > 9000'"):
        from_store(location.uri, filter="length > 9000")


def test_tokens_are_looked_up_without_strings() -> None:
    table = pa.table({"id": ["a", "b"], "sequence": ["MKXJB", "wy v"]})
    tokens = from_table(table).tokens([1, 0], token_lookup(esm2_alphabet().table))
    assert [[TOKENS[t] for t in protein] for protein in tokens] == [list("WYV"), list("MKXXB")]
    assert {t.dtype for t in tokens} == {np.dtype(np.uint8)}
    short = esm2_alphabet().table.copy()
    short[ord("X")] = -1
    with pytest.raises(InputError, match=r"^input: a: the model has no token for the letter 'X'"):
        from_table(table).tokens([1, 0], token_lookup(short))
    short[ord("X")] = 255
    with pytest.raises(ConfigError, match="255"):
        token_lookup(short)


def test_duplicates_are_left_out_with_their_flags() -> None:
    table = pa.table({"id": list("abcd"), "sequence": ["MKV", "ACD", "mkv", "AAA"], "cluster": [7, 8, 9, 10],
                      "is_validation": [False, True, True, False]})  # fmt: skip
    proteins = from_table(table)
    assert proteins.ids(range(3)) == ["a", "b", "d"] and proteins.duplicates == 1
    assert proteins.cluster.tolist() == [7, 8, 10] and proteins.split.tolist() == [False, True, False]
    assert proteins.is_split
    renamed = from_table(table.rename_columns(["id", "sequence", "cluster", "split"]))
    assert renamed.split.tolist() == [False, True, False]
    assert proteins.pin == {"uri": None, "version": None, "digest": hashlib.sha256(
        b"".join(key_of(t) for t in ("MKV", "ACD", "AAA"))).hexdigest()}  # fmt: skip
    assert proteins.keys.type == KEY


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"name": ["a"], "sequence": ["MKV"]}, ["no column id; it has name, sequence"]),
        ({"id": [1], "sequence": [2.5]}, ["column id is int64", "column sequence is double"]),
        ({"id": ["a", None], "sequence": ["MKV", None]}, ["id is null in 1 row", "sequence is null in 1 row"]),
        ({"id": ["a"], "sequence": ["MKV"], "split": ["train"]}, ["column split is string"]),
        ({"id": ["a", "b"], "sequence": ["M-V", ""]}, ["row 1 (a): letter '-'", "row 2 (b): no residues"]),
        ({"id": [str(i) for i in range(9)], "sequence": ["*?"] * 9}, ["row 5 (4)", "and 4 more row"]),
        ({"id": pa.array([], pa.string()), "sequence": pa.array([], pa.string())}, ["holds no protein"]),
    ],
)
def test_mistakes_of_a_table_are_all_named(columns: dict, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        from_table(pa.table(columns))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.parquet", tmp_path / "text.parquet"):
        (tmp_path / "text.parquet").write_text("id,sequence\n")
        with pytest.raises(InputError, match=path.name):
            from_table(path)
