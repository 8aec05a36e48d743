"""Mend white space: `python -m tools.whitespace FILE...`; a hook of .pre-commit-config.yaml.

Takes trailing blanks off every line and leaves exactly one line end at the end of a file. Exit code 1 when a file was
changed, as the hooks of pre-commit do it. (The usual hooks for this are fetched from a repository; this needs none.)
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_TRAILING = re.compile(rb"[ \t]+(?=\r?$)", re.MULTILINE)


def mended(data: bytes) -> bytes:
    """`data` without trailing blanks and with one line end at its end; an empty file stays empty."""
    lines = _TRAILING.sub(b"", data).rstrip(b"\r\n")
    return lines + b"\n" if lines else b""


def main(files: list[str]) -> int:
    """Mend every file; returns the exit code."""
    changed = 0
    for name in files:
        path = Path(name)
        before = path.read_bytes()
        after = mended(before)
        if after != before:
            path.write_bytes(after)
            print(f"mended {name}")
            changed = 1
    return changed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
