"""Where a store is: one URI, the tables under it, and the names of the store's own tables.

A store is a Lance directory namespace: the table `proteins` is `<uri>/proteins.lance`, so that lancedb, polars and
Ray open it without this package. All listing goes through Lance's own object store, so local paths, s3:// and gs://
behave the same and take credentials from the same provider chain. A table that is not one of the store's own is a
vector space or belongs to another program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lance.file import LanceFileSession

from protea_ray.errors import StoreError
from protea_ray.store.object_store_errors import message

PROTEINS_TABLE = "proteins"
REJECTS_TABLE = "rejects"
SOURCES_TABLE = "sources"
RUNS_TABLE = "runs"
ALIASES_TABLE = "aliases"
LEASE_TABLE = "lease"
EVALUATIONS_TABLE = "evaluations"

OWN_TABLES = frozenset(
    {PROTEINS_TABLE, REJECTS_TABLE, SOURCES_TABLE, RUNS_TABLE, ALIASES_TABLE, LEASE_TABLE, EVALUATIONS_TABLE}
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
_SUFFIX = ".lance"


@dataclass(frozen=True)
class Location:
    """A store's normalised URI: an absolute local path, or `scheme://...` without a trailing slash."""

    uri: str

    def table(self, name: str) -> str:
        """URI of the table `name`; raises StoreError for a name that could lead out of the store."""
        return f"{self.uri}/{table_name(name)}{_SUFFIX}"

    def tables(self) -> list[str]:
        """Names of all tables that have at least one committed version, sorted. Raises StoreError in an outage."""
        return [name for name in self._folders() if self.exists(name)]

    def tables_without_version(self) -> list[str]:
        """Names of folders that hold data files but no committed version, sorted: what is left of a lost table.

        Creating a table commits a version before any data file is written. Raises StoreError in an outage.
        """
        bare = (name for name in self._folders() if not self.exists(name))
        return [name for name in bare if self._list(f"{name}{_SUFFIX}/data").objects]

    def _folders(self) -> list[str]:
        """Names of everything that may be a table, sorted."""
        folders = [p.strip("/").rsplit("/", 1)[-1] for p in self._list(None).common_prefixes]
        names = sorted(n.removesuffix(_SUFFIX) for n in folders if n.endswith(_SUFFIX))
        return [name for name in names if _NAME.fullmatch(name) and ".." not in name]

    def exists(self, name: str) -> bool:
        """Whether the table has a committed version: a folder that a crash left behind is not a table."""
        objects = self._list(f"{table_name(name)}{_SUFFIX}/_versions").objects
        return any(o.endswith(".manifest") for o in objects)

    def _list(self, path: str | None) -> Any:
        """Objects and folders directly below `path`, as Lance lists them."""
        try:
            return LanceFileSession(self.uri).list_with_delimiter(path)
        except (OSError, RuntimeError) as error:  # Lance's file session raises the latter for a bucket that is gone
            raise StoreError(
                f"{self.uri} cannot be listed: {message(error)[:400]}. Does it exist, and may you?"
            ) from error


def open_location(uri: str | Path) -> Location:
    """Normalise a store's URI; nothing is created, and no server is contacted.

    Raises StoreError for an empty URI and for one that carries credentials: a URI ends up in tables and logs, so
    credentials come from the environment or the cloud's provider chain only.
    """
    text = str(uri).strip()
    if not text:
        raise StoreError("the store's URI is empty; give a directory, s3://bucket/path or gs://bucket/path")
    if "://" not in text:
        return Location(str(Path(text).expanduser().absolute()))
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query:
        raise StoreError(
            f"the {parts.scheme} URI of the store carries credentials or options; "
            "give only scheme://bucket/path and let the environment supply the rest"
        )
    if parts.scheme == "file":
        return Location(str(Path(parts.path).absolute()))
    return Location(text.rstrip("/"))


def table_name(name: str) -> str:
    """Return `name`; raises StoreError unless it is one plain path segment."""
    if not _NAME.fullmatch(name) or ".." in name or name.endswith(_SUFFIX):
        raise StoreError(
            f"{name[:80]!r} is not a table name; use letters, digits, '_', '-' and single dots, at most 200"
        )
    return name
