"""What lies below a directory: files, Lance data sets, and what is left aside by its name or place.

**Links.** A link is what it points to. A directory that is reached twice, by links or round a loop, is listed once, by
its own name where that lies below the root. A link to a directory is followed on local file systems only: elsewhere
nobody says where it leads, so a loop would not be noticed.

**Side files.** A name that begins with `_` or `.` is left aside, as Hive, Spark, Dask and Arrow do: `_SUCCESS`,
`_metadata`, `_delta_log`, `.crc`. Folders such as `_year=2020` are partitions, and Spark reads them too.

**Stores.** The tables of a store of this package are output, never input, whatever folder they lie in. Other files in
a store's folder are files like any other.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from protea_ray.errors import InputError
from protea_ray.sequences.streams import unreadable

TABLE_SUFFIX = ".lance"  # of a store's table; store.location knows the rest of a store's layout
_PROTEINS, _BESIDE = "proteins.lance", {"lease.lance", "sources.lance"}
_SPECIAL = (
    (stat.S_ISFIFO, "is a pipe; write it to a file first"),
    (stat.S_ISSOCK, "is a socket; write it to a file first"),
    (stat.S_ISBLK, "is a device; write it to a file first"),
    (stat.S_ISCHR, "is a device; write it to a file first"),
)

Info = Mapping[str, Any]  # what fsspec says of a path
Entry = tuple[str, Info | None]


@dataclass
class Walked:
    """What lies below a directory. `entries`: (path, info) of each file, (path, None) of a Lance data set, sorted."""

    entries: list[Entry] = field(default_factory=list[Entry])
    side_files: list[str] = field(default_factory=list[str])  # paths whose last name begins with _ or .
    stores: list[str] = field(default_factory=list[str])  # directories whose tables were left aside
    delta_tables: list[str] = field(default_factory=list[str])
    unlisted: list[InputError] = field(default_factory=list[InputError])  # directories that cannot be read


class Place:
    """One file system, how its paths are spelt as URLs that open the same file anywhere, and where the store is."""

    def __init__(self, filesystem: AbstractFileSystem, given: str, store: str | None = None) -> None:
        self.files = filesystem
        self._given = given
        protocols = filesystem.protocol
        self._protocols = (protocols,) if isinstance(protocols, str) else tuple(protocols)
        self.is_local = "file" in self._protocols
        self._store = self._store_identity(store)

    def uri(self, path: str) -> str:
        """A plain path for local files; the protocol, and the rest of a chain such as zip://x::y.zip, kept."""
        head, chained, rest = self._given.partition("::")
        if chained:
            return f"{head.split('://')[0]}://{path}::{rest}"
        return path if self.is_local else self.files.unstrip_protocol(path)

    def identity(self, path: str) -> str:
        """The path without links, so that all paths to one directory are the same."""
        return os.path.realpath(path) if self.is_local else path.rstrip("/")

    def is_the_store(self, path: str, identity: str | None = None) -> bool:
        """Whether this directory is the store that is written. `identity` of the path, where it is known."""
        return self._store is not None and (identity or self.identity(path)) == self._store

    def is_in_the_store(self, path: str, identity: str | None = None) -> bool:
        """Whether this path is a table of the store that is written, or lies inside one."""
        if self._store is None:
            return False
        whole = identity or self.identity(path)
        inside = whole.removeprefix(f"{self._store}/")
        return inside != whole and inside.split("/")[0].endswith(TABLE_SUFFIX)

    def _store_identity(self, store: str | None) -> str | None:
        """Where the store is on this file system; None when it is on another one."""
        if store is None:
            return None
        scheme = store.partition("://")[0] if "://" in store else "file"
        if scheme not in self._protocols or "::" in self._given:
            return None
        return self.identity(str(self.files._strip_protocol(store)))

    def info(self, path: str) -> Info:
        """What a path is, or what it points to; type `broken` for a link to nothing, or to itself.

        Raises the file system's own error when nothing is there.
        """
        if self.is_local and Path(path).is_symlink() and not Path(path).exists():
            return {"type": "broken"}
        return self.files.info(path)

    def followed(self, path: str, info: Info) -> Info:
        """The same for an entry of a listing, which says of a link only that it is one."""
        return self.info(path) if info.get("islink") or info["type"] == "link" else info


def is_store(names: set[str]) -> bool:
    """Whether a directory with these names is a store of this package."""
    return _PROTEINS in names and bool(names & _BESIDE)


def not_a_file(info: Info) -> str | None:
    """What a path is that is neither file nor directory, in words that follow its name; None for a file."""
    if info["type"] in ("file", "link"):
        return None
    if info["type"] == "broken":
        return "is a link that points to nothing; fetch its file (git annex get, dvc pull) or remove it"
    mode = int(info.get("mode") or 0)
    return next((words for test, words in _SPECIAL if test(mode)), "is no regular file")


def walk(place: Place, root: str) -> Walked:
    """List everything below `root`. What cannot be listed is an item of `unlisted`, so that all of it is reported."""
    walked = Walked()
    own, linked = [(root, place.identity(root))], list[str]()
    seen = set[str]()
    while own or linked:
        # links last: what they lead to has a name of its own below the root
        directory, identity = own.pop() if own else (linked[0], place.identity(linked.pop(0)))
        if identity in seen:
            continue
        seen.add(identity)
        for path, info in _children(place, directory, identity, walked):
            if info["type"] != "directory":
                walked.entries.append((path, info))
            elif not info.get("islink"):
                own.append((path, f"{identity}/{last_name(path)}"))
            elif place.is_local:
                linked.append(path)
            else:
                walked.entries.append((path, {**info, "type": "other"}))
    walked.entries.sort(key=lambda entry: entry[0])
    return walked


def _children(place: Place, directory: str, identity: str, walked: Walked) -> Iterator[tuple[str, Info]]:
    """The files and directories to look at in one directory, in sorted order; the rest is noted in `walked`."""
    if place.is_in_the_store(directory, identity):
        walked.stores.append(directory)
        return
    try:
        listing = {info["name"].rstrip("/"): info for info in place.files.ls(directory, detail=True)}
    except Exception as error:  # every remote file system has its own exception types
        walked.unlisted.append(unreadable(place.uri(directory), error))
        return
    names = {last_name(path) for path in listing}
    if "_versions" in names:
        walked.entries.append((directory, None))
        return
    has_tables = place.is_the_store(directory, identity) or is_store(names)
    if has_tables:
        walked.stores.append(directory)
    if "_delta_log" in names:
        walked.delta_tables.append(directory)
    for path, info in sorted(listing.items()):
        name = last_name(path)
        if path == directory.rstrip("/") or (has_tables and name.endswith(TABLE_SUFFIX)):
            continue  # object stores list the directory itself
        if name.startswith(".") or (name.startswith("_") and "=" not in name):
            walked.side_files.append(path)
        else:
            yield path, place.followed(path, info)


def last_name(path: str) -> str:
    """The part of a path after its last slash."""
    return path.rstrip("/").rsplit("/", 1)[-1]
