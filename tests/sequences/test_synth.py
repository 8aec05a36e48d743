"""Synthetic families: reproducible, streamed, and like real proteins where it matters."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from collections import Counter
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from protea_ray.errors import ConfigError
from protea_ray.evaluate.composition import composition
from protea_ray.sequences.synth import SyntheticProtein, _ancestors, synthesise, write_fasta
from tests.sequences.nearest import same_group_share
from tests.sequences.reading import read

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "families.fasta"
EXAMPLE_ARGUMENTS = {"n": 300, "seed": 1, "families": 30, "max_length": 600, "decoys": 4}


def test_the_example_is_made_by_the_generator(tmp_path: Path) -> None:
    made = tmp_path / "families.fasta"
    residues = write_fasta(made, **EXAMPLE_ARGUMENTS)
    assert made.read_bytes() == EXAMPLE.read_bytes()
    assert residues <= 90_000
    got = read(EXAMPLE)
    assert (len(got.proteins), got.rejects) == (300, [])
    assert sum(row["length"] for row in got.proteins) == residues
    assert len({row["key"] for row in got.proteins}) == 300
    assert Counter(Counter(row["description"] for row in got.proteins).values()) == {10: 30}


def test_same_seed_same_proteins_other_seed_others() -> None:
    assert list(synthesise(50, 4)) == list(synthesise(50, 4))
    assert {p.sequence for p in synthesise(50, 4)}.isdisjoint(p.sequence for p in synthesise(50, 5))


def test_without_decoys_the_bytes_are_those_of_ever(tmp_path: Path) -> None:
    """The digest was taken before there were decoys."""
    write_fasta(tmp_path / "old.fasta", n=300, seed=1, families=30, max_length=600)
    digest = hashlib.sha256((tmp_path / "old.fasta").read_bytes()).hexdigest()
    assert digest == "499e7456c806ff89a81b5a9e202f33a61d06c190e0b172cbb9a4c9aa30b8cf13"


def test_decoys_are_the_residues_of_their_family_in_another_order() -> None:
    """Of families of one member the ancestors are not seen, but substitutions are rare enough to count them."""
    ancestors = list(islice(_ancestors(np.random.Generator(np.random.PCG64(3)), 600, 2), 9))
    for first, *decoys in (ancestors[0:3], ancestors[3:6], ancestors[6:9]):
        for decoy in decoys:
            assert decoy[0] == first[0]
            assert sorted(decoy) == sorted(first)
            assert np.mean(decoy == first) < 0.3
        assert np.mean(decoys[0] == decoys[1]) < 0.3
    assert len({len(ancestor) for ancestor in ancestors}) == 3


def test_composition_finds_a_relative_but_not_among_decoys() -> None:
    shares = {}
    for decoys in (0, 4):
        proteins = list(synthesise(**{**EXAMPLE_ARGUMENTS, "decoys": decoys}))
        vectors = composition([p.sequence for p in proteins])
        shares[decoys] = same_group_share(vectors, [p.family for p in proteins])
    chance = (10 - 1) / (5 * 10 - 1)  # nine relatives among the 49 others of the same composition
    deviation = (chance * (1 - chance) / 300) ** 0.5
    assert shares[0] > 0.85
    assert shares[4] < chance + 3 * deviation


def test_ids_families_and_order() -> None:
    proteins = list(synthesise(205, 1, families=100))
    assert [p.id for p in proteins] == [f"SYN{i:06d}" for i in range(1, 206)]
    assert sorted(Counter(p.family for p in proteins).values()) == [2] * 95 + [3] * 5
    assert [p.family for p in proteins[:3]] == ["F0001", "F0002", "F0003"]  # relatives are not neighbours


def test_lengths_and_composition_are_those_of_proteins() -> None:
    proteins = list(synthesise(4000, 3, families=4000))
    lengths = np.array([len(p.sequence) for p in proteins])
    assert 270 < np.median(lengths) < 310
    assert 340 < lengths.mean() < 385
    assert 1100 < np.percentile(lengths, 99) < 1650
    assert (lengths.min(), lengths.max()) >= (20, 1500)
    assert lengths.max() <= 5000
    share = Counter("".join(p.sequence for p in proteins))
    assert share["L"] / share.total() == pytest.approx(0.0965, abs=0.005)
    assert share["W"] / share.total() == pytest.approx(0.0110, abs=0.002)


def test_relatives_are_alike_and_strangers_are_not() -> None:
    proteins = list(synthesise(60, 2, families=6, max_length=200))
    within, between = [], []
    for one in proteins[:12]:
        for other in proteins[12:40]:
            (within if one.family == other.family else between).append(_identity(one, other))
    assert min(within) > 0.35 and max(within) < 1
    assert np.mean(within) > 0.55 > 0.35 > np.mean(between)


def _identity(one: SyntheticProtein, other: SyntheticProtein) -> float:
    return SequenceMatcher(None, one.sequence, other.sequence, autojunk=False).ratio()


def test_ten_million_are_a_stream() -> None:
    tracemalloc.start()
    try:
        assert len(list(islice(synthesise(10_000_000, 1), 500))) == 500
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_written_to_an_open_file() -> None:
    sink = io.BytesIO()
    residues = write_fasta(sink, 1, seed=0)
    header, *lines = sink.getvalue().decode().splitlines()
    assert header == ">SYN000001 family=F0001"
    assert sum(map(len, lines)) == residues
    assert max(map(len, lines)) == 60


def test_every_impossible_argument_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        synthesise(0, -1, families=5, max_length=10, decoys=5)
    assert len(caught.value.problems) == 5


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.fasta"
    path.write_bytes(b">mine\nMKV\n")
    with pytest.raises(ConfigError, match=r"mine\.fasta exists already"):
        write_fasta(path, 5, seed=1)
    assert path.read_bytes() == b">mine\nMKV\n"
    with pytest.raises(ConfigError, match="cannot be written"):
        write_fasta(tmp_path / "no" / "such.fasta", 5, seed=1)


def test_labels_are_the_families_with_every_fourth_protein_of_each_tested(tmp_path: Path) -> None:
    fasta, labels = tmp_path / "p.fasta", tmp_path / "l.csv"
    write_fasta(fasta, 40, seed=3, families=4, max_length=80, labels=labels)
    header, *rows = [line.split(",") for line in labels.read_text().splitlines()]
    assert header == ["id", "target", "split"]
    headers = [line[1:].split() for line in fasta.read_text().splitlines() if line.startswith(">")]
    assert [(id, f"family={family}") for id, family, _ in rows] == [(id, family) for id, family in headers]
    for family in {family for _, family, _ in rows}:
        own = [split for _, of, split in rows if of == family]
        assert [number for number, split in enumerate(own, 1) if split == "test"] == list(range(4, len(own) + 1, 4))
    with pytest.raises(ConfigError, match="exists already"):
        write_fasta(tmp_path / "q.fasta", 4, seed=3, labels=labels)
    assert not (tmp_path / "q.fasta").exists()
