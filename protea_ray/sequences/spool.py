"""Inputs that can be read only once, copied to a temporary file: standard input, pipes, and web streams.

A source is read twice, for its digest and for its records, and not by the process that was started. What cannot be
read again, or what a server would have to compute again (a web answer without a length, such as that of a search),
is therefore copied first. The copies last as long as the process, and lie on this machine only.

A source keeps the name of what was copied: `stdin`, `pipe`, the path of a named pipe or the URL. Its digest is that of
the bytes, so that the same bytes again are already present.
"""

from __future__ import annotations

import functools
import logging
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import IO, NamedTuple, cast
from urllib.parse import urlsplit

from protea_ray.errors import InputError
from protea_ray.sequences.streams import opened, unreadable

STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_DESCRIPTORS = ("/dev/fd/", "/proc/self/fd/")
_log = logging.getLogger("protea_ray")


class Copy(NamedTuple):
    """A temporary file, and what it is a copy of."""

    path: str
    name: str


def copied(given: str) -> Copy | None:
    """A copy of an input that can be read only once, None for any other.

    Raises InputError for a terminal, a device, and a stream that breaks off.
    """
    if given in STANDARD_INPUT:
        return Copy(_standard_input(), "stdin")
    if given.startswith(("http://", "https://")) and "::" not in given:
        return _copied_web(given)
    try:
        kind = Path(given).expanduser().stat().st_mode if "://" not in given else 0
    except (OSError, ValueError):
        return None  # whatever is wrong, the reader of files says it
    if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
        raise InputError(f"{given}: is a device, not a file of sequences")
    is_descriptor = given.startswith(_DESCRIPTORS)  # of this process only, whatever it is
    if not (stat.S_ISFIFO(kind) or is_descriptor):
        return None
    _log.info("%s: is a pipe, read until its writer closes it", given)
    with _opened_pipe(given) as pipe:
        return Copy(_spooled(pipe, given, given), "pipe" if is_descriptor else given)


@functools.cache  # what was read once is gone
def _standard_input() -> str:
    source = getattr(sys.stdin, "buffer", None)
    if source is None or sys.stdin.isatty():
        raise InputError("-: standard input is a terminal or closed; pipe sequences into the command")
    return _spooled(cast("IO[bytes]", source), "-", "-")


def _opened_pipe(given: str) -> IO[bytes]:
    try:
        return Path(given).expanduser().open("rb")
    except OSError as error:
        raise unreadable(given, error) from error


def _copied_web(given: str) -> Copy | None:
    """A copy of a web stream whose length the server does not tell; None where it tells it, or for a pattern."""
    if any(character in given.partition("?")[0] for character in "*["):
        return None
    with opened(given) as answer:
        if getattr(answer, "size", None) is not None:
            return None
        return Copy(_spooled(answer, urlsplit(given).path, given), given)


def _spooled(source: IO[bytes], original: str, name: str) -> str:
    """Path of a copy of all bytes of an open stream; `name` is for the message."""
    path = _new_file(original)
    with Path(path).open("wb") as copy:
        try:
            shutil.copyfileobj(source, copy, 1 << 20)
        except Exception as error:  # every remote filesystem has its own exception types
            raise unreadable(name, error) from error
    return path


def _new_file(original: str) -> str:
    """A path for a copy, with the suffixes of the original: between CSV and TSV the name decides."""
    suffixes = "".join(Path(original).suffixes[-2:])
    return str(Path(tempfile.mkdtemp(dir=_directory().name)) / f"input{suffixes}")


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    """The directory of this process's copies; it is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="protea-ray-inputs-")
