"""What a space holds: its model and recipe, how complete it is, and what tells it from other spaces of its model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from protea_ray.config.recipe import AlphabetName
from protea_ray.store.keys import KeyIndex, concat_keys
from protea_ray.store.ledger import FIRST_ROW, of_alphabet, present_keys, rejected_keys, scan_proteins
from protea_ray.store.location import Location
from protea_ray.store.rows import vector_facts
from protea_ray.store.spaces import SpaceInfo
from protea_ray.store.tables import open_table


@dataclass(frozen=True)
class SpaceStatus:
    """One vector space: `widths` by pooling, `keys` proteins in `rows` rows, `tokens` the columns of stored logits.

    `wanted` distinct proteins of its alphabet are in the store; `missing` of them have neither a vector nor a reject.
    `differs_in`: the fields of its recipe in which it differs from other spaces of the same model.
    """

    name: str
    model: str
    family: str
    revision: str | None
    trained: bool
    imported: bool
    rows: int
    keys: int
    version: int
    widths: dict[str, int]
    store_dtype: str
    residue_width: int | None
    tokens: list[str] | None
    config: dict[str, Any]
    run: str
    created: str
    wanted: int = 0
    missing: int = 0
    differs_in: dict[str, Any] = field(default_factory=dict[str, Any])

    def progress(self) -> str:
        """How many proteins have a vector, and of how many where some are missing, as in `627 of 3,000`."""
        return f"{self.keys:,} of {self.wanted:,}" if self.missing else f"{self.keys:,}"

    def differences(self) -> str:
        """What tells it from other spaces of its model: `on_long=reject`."""
        return ", ".join(f"{name}={_short(value)}" for name, value in self.differs_in.items())

    def described_model(self) -> str:
        """The model, and whether its weights were ever trained."""
        return self.model if self.trained else f"{self.model} (untrained)"

    def vectors(self) -> list[str]:
        """What is stored of a protein: each pooling with its width, residue matrices, logits."""
        stored = [f"{pooling} {width} x {self.store_dtype}" for pooling, width in self.widths.items()]
        stored += [f"residues x {self.residue_width}"] if self.residue_width else []
        return stored + ([f"logits x {len(self.tokens)}"] if self.tokens else [])


def read_spaces(location: Location, names: Sequence[str]) -> tuple[SpaceStatus, ...]:
    """Read the latest version of those of these tables that are spaces, and compare them with the proteins.

    Reads the keys of all proteins once an alphabet and those of each space once. Raises StoreError.
    """
    infos = [info for name in names if (info := SpaceInfo.from_schema(open_table(location.table(name)).schema))]
    proteins: dict[AlphabetName, pa.Array] = {}
    spaces: list[SpaceStatus] = []
    for info in infos:
        alphabet: AlphabetName = "3di" if info.config.get("alphabet") == "3di" else "aa"
        if alphabet not in proteins:
            proteins[alphabet] = _distinct_proteins(location, alphabet)
        wanted = proteins[alphabet]
        missing = _count_missing(location, info.name, wanted)
        spaces.append(replace(_space(location, info), wanted=len(wanted), missing=missing))
    return tuple(replace(s, differs_in=d) for s, d in zip(spaces, _differences(infos), strict=True))


def _distinct_proteins(location: Location, alphabet: AlphabetName) -> pa.Array:
    batches = scan_proteins(location, None, ["key"], filter=of_alphabet(alphabet))
    return concat_keys([batch.column("key") for batch in batches]).unique()


def _count_missing(location: Location, space: str, wanted: pa.Array) -> int:
    """How many proteins have neither a vector nor a reject in a space."""
    held = concat_keys(list(present_keys(location, space)))
    has_result = KeyIndex(held).contains(wanted) | KeyIndex(rejected_keys(location, space)).contains(wanted)
    return int((~has_result).sum())


def _space(location: Location, info: SpaceInfo) -> SpaceStatus:
    vectors = open_table(location.table(info.name))
    return SpaceStatus(
        name=info.name,
        model=info.model,
        family=str(info.config.get("family", "")),
        revision=info.checkpoint.get("revision"),
        trained=info.trained,
        imported=info.imported,
        rows=vectors.count_rows(),
        keys=vectors.count_rows(FIRST_ROW),
        version=vectors.version,
        config=info.config,
        run=info.run,
        created=info.created,
        **vector_facts(vectors.schema),
    )


def _differences(spaces: Sequence[SpaceInfo]) -> Iterator[dict[str, Any]]:
    """For each space the fields of its identity in which spaces of the same model differ."""
    for space in spaces:
        own = _told_apart(space)
        others = [_told_apart(other) for other in spaces if other.model == space.model]
        yield {name: value for name, value in own.items() if any(other.get(name) != value for other in others)}


def _told_apart(space: SpaceInfo) -> dict[str, Any]:
    """The fields of a space's identity, its weights by the first digits of their digest."""
    recipe: Mapping[str, Any] = space.identity.get("config", {})
    files: Mapping[str, str] = space.identity.get("files", {})
    return {**recipe, **{name: digest[:8] for name, digest in files.items()}}


def _short(value: Any) -> str:
    """A value in a table: lists with commas, as a flag takes them."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
