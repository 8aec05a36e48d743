"""Random bytes: a typed error or rejects, nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protea_ray.errors import ProteaRayError
from tests.sequences.reading import naive_fasta, read, written
from tests.sequences.test_columnar import ROWS
from tests.sequences.test_compression import CODECS

BOUNDED = settings(max_examples=50, deadline=None)
_HEADS = [b">", b"id,sequence\n", b"id\tsequence\n", b'{"id":"a","sequence":"M"}\n', b"\x1f\x8b", b"BZh9"]
_HEADS += [b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PAR1", b"ARROW1", b"\xff\xff\xff\xff", b"\xef\xbb\xbf", b""]


def survives(folder: Path, data: bytes, name: str = "in") -> None:
    try:
        read(written(folder, data, name), part_bytes=64)
    except ProteaRayError as error:
        assert str(folder / name) in str(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@BOUNDED
@given(head=st.sampled_from(_HEADS), data=st.binary(max_size=500))
def test_random_bytes(folder: Path, head: bytes, data: bytes) -> None:
    survives(folder, head + data)


@BOUNDED
@given(
    head=st.sampled_from(_HEADS[:4]), lines=st.lists(st.text('>a,\t"\\{}[]:MK*-\r\n\x00é', max_size=20), max_size=20)
)
def test_random_text(folder: Path, head: bytes, lines: list[str]) -> None:
    survives(folder, head + "\n".join(lines).encode())


@BOUNDED
@given(codec=st.sampled_from(sorted(CODECS)), at=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255))
def test_one_wrong_byte_in_a_compressed_file(folder: Path, codec: str, at: float, byte: int) -> None:
    data = bytearray(CODECS[codec](b">a\nMKV\n" * 300))
    data[int(at * len(data))] ^= byte
    survives(folder, bytes(data))


def _table(kind: str) -> bytes:
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(ROWS, sink)
    else:
        new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
        with new(sink, ROWS.schema) as writer:
            writer.write_table(ROWS)
    return sink.getvalue()


@BOUNDED
@given(
    kind=st.sampled_from(["parquet", "file", "stream"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
)
@example("stream", [(0.3984375, 1)])  # a body of 1 TiB, says its header
def test_wrong_bytes_in_a_table(folder: Path, kind: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(_table(kind))
    for at, byte in changes:
        data[int(at * len(data))] ^= byte
    survives(folder, bytes(data))


@BOUNDED
@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), min_size=1, max_size=30))
def test_every_record_ends_in_exactly_one_place(folder: Path, records: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(b">" + header.replace(b"\n", b"") + b"\n" + letters + b"\n" for header, letters in records)
    got = read(written(folder, data), part_bytes=50)
    assert sorted(row["line"] for row in got.proteins + got.rejects) == [line for line, _, _ in naive_fasta(data)]
