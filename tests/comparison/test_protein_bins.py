"""Proteins of each length drawn by seed: the same from any order, once each, and none beyond its bin."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from protea_ray.comparison.protein_bins import draw_proteins, length_bins
from protea_ray.errors import InputError

LENGTHS = [5, 60, 100, 100, 128, 129, 200, 256, 300, 999]


def sha256_key(sequence: str) -> bytes:
    return hashlib.sha256(sequence.encode()).digest()[:16]


def written(path: Path, sequences: list[str]) -> str:
    path.write_text("".join(f">p{i}\n{sequence}\n" for i, sequence in enumerate(sequences)))
    return str(path)


@pytest.fixture
def sequences() -> list[str]:
    draw = random.Random(1)
    return ["".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in LENGTHS]


def test_bins_hold_what_their_lengths_say(tmp_path: Path, sequences: list[str]):
    found = draw_proteins(written(tmp_path / "a.fasta", sequences), (128, 256, 512, 600), 10, seed=0)
    lengths = {bin: sorted(len(one.sequence) for one in found.of(bin)) for bin in found.bins}
    assert lengths == {128: [5, 60, 100, 100, 128], 256: [129, 200, 256], 512: [300]}
    assert found.lacking == (600,) and found.left_out == 1
    assert all(one.key == sha256_key(one.sequence) for one in found.proteins)
    assert {one.bin for one in found.up_to(256)} == {128, 256}


def test_the_draw_follows_from_letters_and_seed(tmp_path: Path, sequences: list[str]):
    def drawn(order: list[str], count: int, seed: int) -> list[str]:
        path = written(tmp_path / "b.fasta", order)
        return [one.sequence for one in draw_proteins(path, (128,), count, seed).proteins]

    three = drawn(sequences, 3, 7)
    assert len(set(three)) == 3
    assert drawn(sequences[::-1], 3, 7) == three
    assert drawn(sequences * 5, 3, 7) == three  # letters that come twice count once
    assert drawn(sequences, 4, 7)[:3] == three
    assert any(drawn(sequences, 3, seed) != three for seed in (8, 9, 10))


def test_a_store_is_read_by_its_proteins(tmp_path: Path, sequences: list[str]):
    import lance
    import pyarrow as pa

    from protea_ray.sequences.records import PROTEINS_SCHEMA

    rows = [(f"p{i}", sha256_key(s), len(s), s, "", "x", i) for i, s in enumerate(sequences)]
    columns = [
        pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), PROTEINS_SCHEMA, strict=True)
    ]
    lance.write_dataset(pa.Table.from_arrays(columns, schema=PROTEINS_SCHEMA), str(tmp_path / "s" / "proteins.lance"))
    path = written(tmp_path / "c.fasta", sequences)
    assert draw_proteins(str(tmp_path / "s"), (128, 256), 2, 0) == draw_proteins(path, (128, 256), 2, 0)


def test_nothing_short_enough_is_said(tmp_path: Path, sequences: list[str]):
    with pytest.raises(InputError, match="no protein of at most 4 residues"):
        draw_proteins(written(tmp_path / "d.fasta", sequences), (4,), 3, 0)


def test_the_trained_length_ends_a_bin():
    assert length_bins(2046, 35_213) == (128, 256, 512, 1022, 2046, 4096, 8192, 35_213)
    assert length_bins(None, 300) == (128, 256, 300)
    assert length_bins(1022, 1022) == (128, 256, 512, 1022)
