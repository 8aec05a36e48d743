"""Compressed inputs: recognised by content, whole or refused, never held in memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from protea_ray.errors import InputError
from protea_ray.sequences.inputs import expand
from protea_ray.sequences.synth import write_fasta
from tests.sequences.reading import read, written

Compress = Callable[[bytes], bytes]
CODECS: dict[str, Compress] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
codecs = pytest.mark.parametrize("name", CODECS)


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("plain") / "in.fasta"
    write_fasta(path, 400, seed=2)
    return path.read_bytes()


@codecs
def test_the_name_does_not_matter(tmp_path: Path, fasta: bytes, name: str) -> None:
    plain = read(written(tmp_path, fasta))
    path = written(tmp_path, CODECS[name](fasta), "no_suffix")
    assert expand([str(path)])[0].compression == name
    assert read(path) == plain
    assert plain.total == 400


@codecs
def test_several_members_are_all_read(tmp_path: Path, fasta: bytes, name: str) -> None:
    half = fasta.index(b">SYN000200")
    path = written(tmp_path, CODECS[name](fasta[:half]) + CODECS[name](fasta[half:]))
    assert read(path) == read(written(tmp_path, fasta, "plain"))


@codecs
@pytest.mark.parametrize("lost", [1, 4, 1000, 20_000])
def test_truncated_is_refused(tmp_path: Path, fasta: bytes, name: str, lost: int) -> None:
    path = written(tmp_path, CODECS[name](fasta)[:-lost])
    with pytest.raises(InputError, match=rf"in\.fasta: truncated or damaged {name}.*download"):
        read(path)


@codecs
def test_truncated_in_the_second_member_is_refused(tmp_path: Path, fasta: bytes, name: str) -> None:
    member = CODECS[name](fasta)
    with pytest.raises(InputError, match="truncated or damaged"):
        read(written(tmp_path, member + member[:100]))


@codecs
@pytest.mark.parametrize("tail", [b"garbage", b">b\nMKV\n" * 100])
def test_what_follows_the_stream_is_not_ignored(tmp_path: Path, fasta: bytes, name: str, tail: bytes) -> None:
    with pytest.raises(InputError, match="truncated or damaged"):
        read(written(tmp_path, CODECS[name](fasta) + tail))


@codecs
def test_flipped_bits_are_noticed(tmp_path: Path, fasta: bytes, name: str) -> None:
    data = bytearray(CODECS[name](fasta))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(InputError, match="truncated or damaged"):
        read(written(tmp_path, bytes(data)))


@codecs
def test_compressed_nothing_is_empty(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"in\.fasta: is empty"):
        expand([str(written(tmp_path, CODECS[name](b"")))])


@codecs
def test_a_bomb_is_one_reject_in_bounded_memory(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, CODECS[name](b">bomb\n" + b"M" * 200_000_000 + b"\n>b\nMKV\n"))
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        got = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ([row["id"] for row in got.proteins], got.reasons) == (["b"], ["too_large"])
    assert got.rejects[0]["id"] == "bomb"
    assert peak < 150 << 20  # 64 MiB of the record, and blocks
