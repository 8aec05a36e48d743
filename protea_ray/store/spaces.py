"""A vector space: one table, one recipe, one checkpoint, all written into the table's own schema metadata."""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

import pyarrow as pa

from protea_ray.errors import StoreError, UnknownSpaceError
from protea_ray.store.location import OWN_TABLES, Location
from protea_ray.store.tables import ensure_table, find_table

PREFIX = "protea."


@dataclass(frozen=True)
class SpaceInfo:
    """What a space's vectors are: enough to compute them again, and to keep vectors of another recipe out.

    `identity` holds what changes numbers (see config/recipe.py), `config` the whole resolved recipe,
    `checkpoint` the keys model, revision, files (name to sha256) and, of newer spaces, layers, heads and what the
    model was trained with: attention, trained_length. `versions` are the libraries that computed it, `hidden` the width
    of the model's states, `created` an ISO time in UTC. `trained` is False for random weights.
    """

    name: str
    identity: dict[str, Any]
    config: dict[str, Any]
    checkpoint: dict[str, Any]
    hidden: int
    run: str
    created: str
    versions: dict[str, str] = field(default_factory=dict[str, str])
    trained: bool = True
    imported: bool = False

    @property
    def model(self) -> str:
        """Hub id or directory of the checkpoint, as the user gave it."""
        return str(self.checkpoint.get("model", ""))

    @property
    def poolings(self) -> tuple[str, ...]:
        """Names of the columns of pooled vectors."""
        return tuple(p for p in self.config.get("pooling", ()) if p != "none")

    @property
    def chunked(self) -> bool:
        """Whether a protein may have several rows."""
        return self.config.get("chunk_size") is not None

    def to_metadata(self) -> dict[str, str]:
        """Schema metadata: every field as JSON under `protea.<field>`."""
        return {f"{PREFIX}{name}": json.dumps(value, sort_keys=True) for name, value in asdict(self).items()}

    @classmethod
    def from_schema(cls, schema: pa.Schema) -> SpaceInfo | None:
        """Read the fields from schema metadata; None for a table that is not a vector space of this package.

        Raises StoreError for a description that cannot be read.
        """
        metadata: dict[bytes, bytes] = schema.metadata or {}
        names = [f.name for f in fields(cls)]
        if any(f"{PREFIX}{n}".encode() not in metadata for n in names):
            return None
        try:
            return cls(**{n: json.loads(metadata[f"{PREFIX}{n}".encode()]) for n in names})
        except ValueError as error:
            raise StoreError(f"the description of a space cannot be read: {error}") from error


def ensure_space(location: Location, info: SpaceInfo, schema: pa.Schema) -> SpaceInfo:
    """Create the space's table, or open it if it holds the same space; returns the space that the table describes.

    Raises StoreError that names every difference when the table holds another space or has other columns.
    """
    if info.name in OWN_TABLES:
        raise StoreError(f"{info.name} is a table of the store itself and cannot be a space's name")
    described = schema.with_metadata({**(schema.metadata or {}), **_bytes(info.to_metadata())})
    table = ensure_table(location.table(info.name), described)
    stored = SpaceInfo.from_schema(table.schema)
    if stored is None:
        raise StoreError(f"{table.uri} is not a vector space of this package; nothing was written to it")
    if stored.identity != info.identity:
        raise StoreError(
            f"space {info.name} holds other vectors: {'; '.join(differences(stored.identity, info.identity))}. "
            "One table holds one space; nothing was written."
        )
    return stored


def open_space(location: Location, name: str, version: int | None = None) -> SpaceInfo:
    """Read what a space is from its table; raises UnknownSpaceError that lists the spaces that exist."""
    table = find_table(location.table(name), version) if name not in OWN_TABLES else None
    info = SpaceInfo.from_schema(table.schema) if table is not None else None
    if info is None:
        known = ", ".join(s.name for s in list_spaces(location)) or "none yet"
        raise UnknownSpaceError(f"{location.uri} has no space {name!r}; spaces: {known}")
    return info


def list_spaces(location: Location) -> list[SpaceInfo]:
    """Read all spaces of the store, in the order of their names. Tables of other programs are left out."""
    tables = (find_table(location.table(n)) for n in location.tables() if n not in OWN_TABLES)
    infos = (SpaceInfo.from_schema(t.schema) for t in tables if t is not None)
    return [info for info in infos if info is not None]


def same_space(location: Location, spaces: Iterable[SpaceInfo], identity: dict[str, Any], name: str) -> str:
    """The one of `spaces` that holds `identity`, whatever it is called; `name` where it is such a one, or none is.

    A checkpoint's directory may have had another name when its space was made. Earlier versions made several spaces
    of one identity: of those it is the one with most rows, the first of equals.
    """
    same = [space.name for space in spaces if space.identity == identity]
    if not same or name in same:
        return name
    return max(same, key=lambda other: _rows(location, other)) if len(same) > 1 else same[0]


def _rows(location: Location, name: str) -> int:
    table = find_table(location.table(name))
    return int(table.count_rows()) if table is not None else 0  # pyright: ignore[reportUnknownMemberType]


def differences(have: dict[str, Any], want: dict[str, Any], where: str = "") -> Iterator[str]:
    """Every field in which two nested records differ, in words."""
    for name in sorted({*have, *want}):
        path, a, b = f"{where}{name}", have.get(name), want.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(cast(dict[str, Any], a), cast(dict[str, Any], b), f"{path}.")
        elif a != b:
            yield f"{path} is {_short(a)} there, {_short(b)} here"


def _short(value: Any) -> str:
    return "absent" if value is None else f"{json.dumps(value)[:60]}"


def _bytes(metadata: dict[str, str]) -> dict[bytes, bytes]:
    return {k.encode(): v.encode() for k, v in metadata.items()}
