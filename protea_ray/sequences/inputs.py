"""From what a person typed to a list of sources: files, directories, globs, URLs, Lance datasets.

**Recognition.** The first bytes of a file say what it is, see `sequences.formats`.

**Expansion.** A directory is walked in sorted order. Hidden entries and directory links are not followed. A directory
that holds `_versions` is one Lance dataset. A file in a directory is taken when its content is a sequence format, or
when its name promises one; a table is taken only when it has the id and the sequence column. The files that are skipped
are logged once a directory, by name and reason. A file that was named itself, or by a glob, must hold sequences.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fsspec import AbstractFileSystem

from protea_ray.errors import InputError
from protea_ray.sequences.columnar import explained, lance_dataset
from protea_ray.sequences.formats import HEAD, NotSequencesError, compression_of, format_of, has_sequence_name
from protea_ray.sequences.parts import Columns, Part, Scan, Source
from protea_ray.sequences.scan import column_problems, scan
from protea_ray.sequences.spool import Copy, copied
from protea_ray.sequences.streams import blocks, filesystem_of, opened, unreadable

__all__ = ["Columns", "Part", "Scan", "Source", "expand", "scan"]

_DEFAULT = Columns()
_log = logging.getLogger(__name__)


def expand(inputs: Sequence[str], columns: Columns = _DEFAULT) -> list[Source]:
    """Every source behind `inputs` in the order given, each once. Opens each file for its first 64 KiB.

    Raises one InputError that lists every input which is missing, empty, unreadable or not a sequence file.
    """
    problems = [] if inputs else ["no input was given; name a file, directory, glob or URL"]
    found: dict[str, Source] = {}
    for given in inputs:
        try:
            for source in _expand_one(str(given), columns):
                found.setdefault(source.uri, source)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return list(found.values())


def _expand_one(given: str, columns: Columns) -> list[Source]:
    _require_no_credentials(given)
    if copy := copied(given):
        return _of_copy(copy, columns)
    try:
        filesystem, path = filesystem_of(given)
        matches = _matches(filesystem, path)
        entries = [(match, filesystem.info(match)) for match in matches]
    except Exception as error:  # every remote filesystem has its own exception types
        raise unreadable(given, error) from error
    if not entries:
        raise InputError(f"{given}: no file matches this pattern")
    sources: list[Source] = []
    problems: list[str] = []
    for match, info in entries:
        place = _Place(filesystem, given)
        try:
            is_directory = info["type"] == "directory"
            sources += place.directory(match, columns) if is_directory else [place.file(match, info)]
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return sources


def _of_copy(copy: Copy, columns: Columns) -> list[Source]:
    """The source of a temporary copy; messages name what it was copied from."""
    try:
        return [replace(source, copy_of=copy.name) for source in _expand_one(copy.path, columns)]
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


def _matches(filesystem: AbstractFileSystem, path: str) -> list[str]:
    """The path itself, or the paths that a pattern matches. A path that exists is no pattern, even with `[` or `*`."""
    if any(character in path for character in "*?[") and not filesystem.exists(path):
        return sorted(str(match) for match in filesystem.glob(path))
    return [path]


class _Place:
    """One filesystem, and how its paths are spelled as URLs that open the same file anywhere."""

    def __init__(self, filesystem: AbstractFileSystem, given: str) -> None:
        self._files = filesystem
        self._given = given

    def uri(self, path: str) -> str:
        """A plain path for local files; the protocol, and the rest of a chain such as zip://x::y.zip, kept."""
        head, chained, rest = self._given.partition("::")
        if chained:
            return f"{head.split('://')[0]}://{path}::{rest}"
        local = "file" in self._files.protocol or self._files.protocol == "file"
        return path if local else self._files.unstrip_protocol(path)

    def directory(self, path: str, columns: Columns) -> list[Source]:
        """The sources under a directory; raises InputError when there are none, or a promised one is broken."""
        sources: list[Source] = []
        skipped: list[str] = []
        problems: list[str] = []
        for entry, info in self._walk(path):
            if entry == path:
                return [self._lance(path)]
            try:
                source = self._lance(entry) if info is None else self.file(entry, info)
                unfit = column_problems(source, columns)
            except InputError as error:
                if info is None or has_sequence_name(entry):
                    problems += error.problems
                    continue
                source, unfit = None, list(error.problems)
            if source and not unfit:
                sources.append(source)
            else:
                skipped.append(unfit[0].removeprefix(self.uri(path)).lstrip("/"))
        if problems:
            raise InputError(problems)
        if not sources:
            raise InputError(f"{self.uri(path)}: no sequence file in this directory{_skipped_files(skipped)}")
        if skipped:
            _log.warning("%s: left aside %d file(s)%s", self.uri(path), len(skipped), _skipped_files(skipped))
        return sources

    def _walk(self, path: str) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """(path, info) of every file below, (path, None) of every Lance dataset, in sorted order."""
        try:
            listing = {info["name"].rstrip("/"): info for info in self._files.ls(path, detail=True)}
        except Exception as error:  # as above
            raise unreadable(self.uri(path), error) from error
        names = {name.rsplit("/", 1)[-1] for name in listing}
        if "_versions" in names:
            yield path, None
            return
        for name, info in sorted(listing.items()):
            if name == path.rstrip("/") or name.rsplit("/", 1)[-1].startswith("."):
                continue  # object stores list the directory itself
            if info["type"] != "directory":
                yield name, info
            elif not info.get("islink"):
                yield from self._walk(name)

    def _lance(self, path: str) -> Source:
        uri = self.uri(path)
        source = Source(uri, "lance", "none", 0)
        with explained(source):
            return Source(uri, "lance", "none", 0, lance_dataset(source).version)

    def file(self, path: str, info: dict[str, Any]) -> Source:
        """One file by its content; raises InputError when it holds no sequences."""
        uri = self.uri(path)
        if info["type"] not in ("file", "link"):
            raise InputError(f"{uri}: is a pipe or device; write it to a file first")
        with opened(uri) as handle:
            try:
                head = handle.read(HEAD)
            except Exception as error:  # as above
                raise unreadable(uri, error) from error
        if not head:
            raise InputError(f"{uri}: is empty (0 bytes); remove it or download it again")
        source = Source(uri, "fasta", compression_of(head), int(info.get("size") or 0))
        try:
            return _recognised(source, head)
        except NotSequencesError as error:
            raise InputError(f"{uri}: {error}") from error


def _recognised(source: Source, head: bytes) -> Source:
    if source.compression != "none":
        head = _first_bytes(source)
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


def _skipped_files(skipped: list[str], most: int = 10) -> str:
    if not skipped:
        return " (it is empty)"
    more = f", and {len(skipped) - most} more" if len(skipped) > most else ""
    return " (" + "; ".join(skipped[:most]) + more + ")"
