"""Inputs that can be read only once: standard input, pipes, descriptors; and what is no input at all."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from protea_ray.errors import InputError
from protea_ray.sequences import spool
from protea_ray.sequences.inputs import expand
from tests.sequences.reading import read

FASTA = b">s1 streamed\nMKWVTF\n>s2\nISLLFL\n"


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BytesIO]:
    """Bytes on standard input, which this process has not read yet."""
    stream = io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream, isatty=lambda: False))
    spool._standard_input.cache_clear()
    yield stream
    spool._standard_input.cache_clear()


@contextmanager
def piped(data: bytes) -> Iterator[str]:
    """A descriptor as a shell's `<(command)` gives it, written to by a thread."""
    ends = os.pipe()
    writer = Thread(target=lambda: (os.write(ends[1], data), os.close(ends[1])))
    writer.start()
    yield f"/dev/fd/{ends[0]}"
    writer.join()
    os.close(ends[0])


@pytest.mark.parametrize("given", ["-", "/dev/stdin"])
@pytest.mark.parametrize("data", [FASTA, gzip.compress(FASTA, mtime=0), b"id,sequence\ns1,MKWVTF\ns2,ISLLFL\n"])
def test_standard_input_is_a_source_by_a_stable_name(standard_input: io.BytesIO, given: str, data: bytes) -> None:
    standard_input.write(data)
    standard_input.seek(0)
    (source,) = expand([given])
    assert source.name == "stdin"
    assert [row["sequence"] for row in read(given, part_bytes=3).proteins] == ["MKWVTF", "ISLLFL"]


def test_standard_input_given_twice_is_one_source(standard_input: io.BytesIO) -> None:
    standard_input.write(FASTA)
    standard_input.seek(0)
    assert len(expand(["-", "-", "/dev/stdin"])) == 1


def test_a_terminal_and_an_empty_standard_input_are_refused(
    standard_input: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="stdin: is empty"):
        expand(["-"])
    spool._standard_input.cache_clear()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=standard_input, isatty=lambda: True))
    with pytest.raises(InputError, match="standard input is a terminal"):
        expand(["-"])


def test_mistakes_in_standard_input_are_named_by_it(standard_input: io.BytesIO) -> None:
    standard_input.write(b"Dear reader,\nno proteins here\n")
    standard_input.seek(0)
    with pytest.raises(InputError, match=r"input: stdin: looks like plain text"):
        expand(["-"])


def test_a_pipe_of_the_shell_is_read(tmp_path: Path) -> None:
    with piped(gzip.compress(FASTA)) as given:
        (source,) = expand([given])
    assert (source.name, source.compression) == ("pipe", "gzip")
    assert read(source.uri).total == 2


def test_a_named_pipe_is_read_and_keeps_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    os.mkfifo(path)
    writer = Thread(target=lambda: path.write_bytes(b"id\tsequence\tnote\nq1\tMKV\ta,b\n"))
    writer.start()
    (source,) = expand([str(path)])
    writer.join()
    assert (source.name, source.format) == (str(path), "tsv")


def test_a_device_is_refused() -> None:
    with pytest.raises(InputError, match="/dev/zero: is a device"):
        expand(["/dev/zero"])
