"""The sources of one directory, and one line on what was left aside in it.

A file is a source when its content is a sequence format; a table only when it has the id and the sequence column. A
file whose name promises sequences and whose content is something else stops the run. A file without content does
not: Spark writes empty parts, and gene callers empty files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from protea_ray.errors import InputError
from protea_ray.sequences.parts import Source
from protea_ray.sequences.walk import Entry, Info, Place, Walked, last_name, walk

_A_STORE = (
    "is a store of protea_ray, not an input. STORE is the last argument: protea-ray embed INPUT... STORE; "
    "to embed the proteins of another store, name its table proteins.lance"
)
_REMOTE_READERS = 16  # files of a remote directory that are opened at a time: each waits for a server's answer
_NAMED = 3  # of what was left aside
_LONGEST = 150  # characters of a list of names
_REASON = 90  # characters of a reason in the line
_log = logging.getLogger(__name__)


class Judged(NamedTuple):
    """A file of a directory: its source, or why it is none. `stops`: its name promised a source, so the run stops."""

    source: Source | None
    reasons: Sequence[str] = ()
    stops: bool = False


Judge = Callable[[str, Info | None], Judged]  # of a path and what fsspec says of it; None for a Lance data set


def directory_sources(place: Place, root: str, judge: Judge) -> list[Source]:
    """The sources below `root` in the order of their paths, each path judged by `judge`.

    Raises InputError for a store, when there is no source, and with every promised source that is broken and every
    folder that cannot be listed.
    """
    walked = walk(place, root)
    if root.rstrip("/") in walked.stores:
        raise InputError(f"{place.uri(root)}: {_A_STORE}")
    problems = [problem for error in walked.unlisted for problem in error.problems]
    sources: list[Source] = []
    skipped: list[str] = []
    for (path, _), judged in zip(walked.entries, _each(place, walked, judge), strict=True):
        if judged.source is not None:
            sources.append(judged.source)
        elif judged.stops or path == root:  # a Lance data set that was named itself
            problems += judged.reasons
        else:
            skipped.append(judged.reasons[0].removeprefix(place.uri(root)).lstrip("/"))
    if problems:
        raise InputError(problems)
    if not sources:
        aside = _left_aside(walked, root, skipped) or "it is empty"
        raise InputError(f"{place.uri(root)}: no sequence file in this directory ({aside})")
    tell_left_aside(place.uri(root), walked, root, [_short(words) for words in skipped])
    return sources


def tell_left_aside(uri: str, walked: Walked, root: str, skipped: Sequence[str]) -> None:
    """Log what was left aside, a list of at most 150 characters of each kind; all names for INFO (--verbose)."""
    told = _left_aside(walked, root, skipped)
    if told:
        _log.warning("%s: %s", uri, told)
        if (whole := _left_aside(walked, root, skipped, whole=True)) != told:
            _log.info("%s: %s", uri, whole)


def _each(place: Place, walked: Walked, judge: Judge) -> list[Judged]:
    def judged(entry: Entry) -> Judged:
        return judge(*entry)

    if place.is_local:
        return list(map(judged, walked.entries))
    with ThreadPoolExecutor(_REMOTE_READERS) as pool:
        return list(pool.map(judged, walked.entries))


def _left_aside(walked: Walked, root: str, skipped: Sequence[str], *, whole: bool = False) -> str:
    """What was left aside in one line, the first few by name (`whole`: all); nothing when nothing was."""

    def named(paths: Sequence[str]) -> str:
        return _few([path.removeprefix(root).lstrip("/") or path for path in sorted(paths)], whole)

    phrases: list[str] = []
    if skipped:
        phrases.append(f"left aside {len(skipped)} file(s): {_few(skipped, whole)}")
    if walked.side_files:
        names = [last_name(path) for path in sorted(walked.side_files)]
        names.sort(key=_looks_like_data, reverse=True)
        phrases.append(f"left aside {len(names)} name(s) that begin with _ or .: {_few(names, whole)}")
    if walked.stores:
        phrases.append(f"left aside the tables of {len(walked.stores)} store(s): {named(walked.stores)}")
    if walked.delta_tables:
        phrases.append(
            f"its Delta log is not read, so rows that it has deleted are read as well: {named(walked.delta_tables)}"
        )
    return "; ".join(phrases)


def _looks_like_data(name: str) -> bool:
    """Whether a name that is left aside may be a file of a user's own: `_SUCCESS` has no ending, `.crc` no `_`."""
    return name.startswith("_") and "." in name


def _few(items: Sequence[str], whole: bool) -> str:
    """The first names, three at most and no more than fit, and how many more there are; all of them if `whole`."""
    if whole:
        return ", ".join(items)
    lines = [
        ", ".join([*items[:most], *([f"and {len(items) - most} more"] if most < len(items) else [])])
        for most in range(min(_NAMED, len(items)), 0, -1)
    ]
    line = next((line for line in lines if len(line) <= _LONGEST), lines[-1])
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _short(words: str) -> str:
    """`name: reason` as `name (reason)`, the reason cut at its first clause."""
    name, _, reason = words.partition(": ")
    clause = reason.split(";")[0].split(": ")[0]
    return f"{name} ({clause if len(clause) <= _REASON else clause[:_REASON] + '...'})"
