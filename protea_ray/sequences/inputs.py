"""From what a person typed to a list of sources: files, directories, globs, URLs, Lance datasets.

**Recognition.** The first bytes of a file say what it is, see `sequences.formats`.

**Expansion.** A file that was named itself, or by a glob, must hold sequences. What a directory holds is for
`sequences.walk` and `sequences.directory`. A directory that holds `_versions` is one Lance dataset. The store that is
written is never an input.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from protea_ray.errors import InputError
from protea_ray.sequences.columnar import explained, lance_dataset
from protea_ray.sequences.directory import Judged, directory_sources
from protea_ray.sequences.formats import HEAD, NotSequencesError, compression_of, format_of, has_sequence_name
from protea_ray.sequences.parts import Columns, Part, Scan, Source
from protea_ray.sequences.records import printable
from protea_ray.sequences.scan import column_problems, scan
from protea_ray.sequences.spool import Copy, copied
from protea_ray.sequences.streams import blocks, filesystem_of, opened, unreadable
from protea_ray.sequences.walk import Info, Place, not_a_file

__all__ = ["Columns", "Part", "Scan", "Source", "expand", "scan"]

_DEFAULT = Columns()
_OUTPUT = (
    "belongs to the STORE that is written, so it cannot be an input. Give the store a directory of its own as the last "
    "argument (protea-ray embed INPUT... STORE), or name the files in this one"
)
_log = logging.getLogger(__name__)


class EmptyFileError(InputError):
    """Raised for a file without content: an error by itself, a part without records beside other files."""


def expand(inputs: Sequence[str], columns: Columns = _DEFAULT, store: str | None = None) -> list[Source]:
    """Every source behind `inputs` in the order given, each once. Opens each file for its first 64 KiB.

    `store`: URI of the store that will be written; none of its tables is ever a source. Raises one InputError that
    lists every input which is missing, empty, unreadable, a store, or not a sequence file with these columns.
    """
    problems = [] if inputs else ["no input was given; name a file, directory, glob or URL"]
    found: dict[str, Source] = {}
    for given in inputs:
        try:
            for source in _expand_one(str(given), columns, store):
                found.setdefault(source.uri, source)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return list(found.values())


def _expand_one(given: str, columns: Columns, store: str | None) -> list[Source]:
    _require_no_credentials(given)
    if copy := copied(given):
        return _of_copy(copy, columns, store)
    if "://" not in given and Path(given).exists():
        _require_usable_name(given)
    try:
        filesystem, path = filesystem_of(given)
        place = Place(filesystem, given, store)
        matches = _matches(place, path)
    except Exception as error:  # every remote filesystem has its own exception types
        raise unreadable(given, error) from error
    if not matches:
        raise InputError(f"{given}: no file matches this pattern")
    sources: list[Source] = []
    problems: list[str] = []
    for match in matches:
        try:
            sources += _sources_at(place, match, columns)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return sources


def _of_copy(copy: Copy, columns: Columns, store: str | None) -> list[Source]:
    """The source of a temporary copy; messages name what it was copied from."""
    try:
        return [replace(source, copy_of=copy.name) for source in _expand_one(copy.path, columns, store)]
    except InputError as error:
        raise InputError([problem.replace(copy.path, copy.name) for problem in error.problems]) from error


def _require_no_credentials(given: str) -> None:
    """Raise InputError for a URL with a password: the name of a source is stored with each of its records."""
    for link in given.split("::"):
        scheme, separator, rest = link.partition("://")
        if separator and "@" in rest.split("/")[0]:
            raise InputError(
                f"a {scheme} URL among the inputs carries credentials; give only {scheme}://host/path and let the "
                "environment supply the rest (AWS_ACCESS_KEY_ID, ~/.netrc, ...)"
            )


def _require_usable_name(path: str) -> None:
    """Raise InputError for a local name that no table can hold, or that fsspec takes for a chain of URLs."""
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = printable(os.fsencode(path))
        raise InputError(f"{shown}: has a name that is not UTF-8, which no table can hold; rename it") from None
    if "::" in path:
        raise InputError(f"{path}: has '::' in its name, which stands for a file inside an archive; rename it")


def _matches(place: Place, path: str) -> list[str]:
    """The path itself, or the paths that a pattern matches. A path that exists is no pattern, even with `[` or `*`.

    A pattern does not name the store that will be written, so what lies there is left aside.
    """
    if not any(character in path for character in "*?[") or place.files.exists(path):
        return [path]
    matches = sorted(str(match) for match in place.files.glob(path))
    others = [match for match in matches if not (place.is_the_store(match) or place.is_in_the_store(match))]
    if len(others) < len(matches):
        _log.warning("%s: left aside what belongs to the store that is written", place.uri(path))
    return others


def _sources_at(place: Place, path: str, columns: Columns) -> list[Source]:
    """The sources of one path; raises InputError with every reason against it."""
    if place.is_the_store(path) or place.is_in_the_store(path):
        raise InputError(f"{place.uri(path)}: {_OUTPUT}")
    try:
        info = place.info(path)
    except Exception as error:  # as above
        raise unreadable(place.uri(path), error) from error
    if info["type"] == "directory":
        return directory_sources(place, path, lambda below, facts: _judge(place, below, facts, columns))
    source = _file(place, path, info)
    problems = column_problems(source, columns)
    if problems:
        raise InputError(problems)
    return [source]


def _judge(place: Place, path: str, info: Info | None, columns: Columns) -> Judged:
    """A file, or with `info` None a Lance data set, that a directory holds."""
    try:
        source = _lance(place, path) if info is None else _file(place, path, info)
        unfit = column_problems(source, columns)
    except EmptyFileError as error:
        return Judged(None, error.problems)
    except InputError as error:
        return Judged(None, error.problems, stops=info is None or has_sequence_name(path))
    return Judged(None, unfit) if unfit else Judged(source)


def _lance(place: Place, path: str) -> Source:
    source = Source(place.uri(path), "lance", "none", 0)
    with explained(source):
        return replace(source, version=lance_dataset(source).version)


def _file(place: Place, path: str, info: Info) -> Source:
    """One file by its content; raises InputError when it holds no sequences."""
    uri = place.uri(path)
    special = not_a_file(info)
    if special:
        raise InputError(f"{uri}: {special}")
    if place.is_local:
        _require_usable_name(path)
    with opened(uri) as handle:
        try:
            head = handle.read(HEAD)
        except Exception as error:  # as above
            raise unreadable(uri, error) from error
    if not head:
        raise EmptyFileError(f"{uri}: is empty (0 bytes); remove it or download it again")
    source = Source(uri, "fasta", compression_of(head), int(info.get("size") or 0))
    try:
        return _recognised(source, head)
    except NotSequencesError as error:
        raise InputError(f"{uri}: {error}") from error


def _recognised(source: Source, head: bytes) -> Source:
    if source.compression != "none":
        head = _first_bytes(source)
        if not head:
            raise EmptyFileError(f"{source.uri}: is empty (0 bytes after decompression); remove it or write it again")
    found = format_of(head, source.uri.partition("::")[0])
    if found in ("parquet", "arrow") and source.compression != "none":
        raise NotSequencesError(f"is a {found} file inside {source.compression}; decompress it (it compresses itself)")
    return Source(source.uri, found, source.compression, source.size)


def _first_bytes(source: Source) -> bytes:
    """At least the first 64 KiB after decompression, where there are so many."""
    buffer = io.BytesIO()
    for block in blocks(source, size=HEAD):
        buffer.write(block)
        if buffer.tell() >= HEAD:
            break
    return buffer.getvalue()
