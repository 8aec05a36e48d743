"""The hook that mends white space changes what it should and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.whitespace import main, mended


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a  \n\tb\t\n", b"a\n\tb\n"),
        (b"a", b"a\n"),
        (b"a\n\n\n", b"a\n"),
        (b"a \r\nb\r\n", b"a\r\nb\n"),
        (b"", b""),
        (b"  a\n\n  b\n", b"  a\n\n  b\n"),
    ],
)
def test_blanks_at_ends(before: bytes, after: bytes) -> None:
    assert mended(before) == after


def test_the_exit_code_says_whether_a_file_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"a \n")

    assert main([str(path)]) == 1
    assert main([str(path)]) == 0
    assert path.read_bytes() == b"a\n"
