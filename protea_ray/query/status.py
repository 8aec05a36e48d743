"""What a store holds, for a person and as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from protea_ray.display import html_table, text_table
from protea_ray.store.aliases import list_aliases
from protea_ray.store.lease import HELD, read_record
from protea_ray.store.ledger import FIRST_ROW
from protea_ray.store.location import LEASE_TABLE, OWN_TABLES, PROTEINS_TABLE, REJECTS_TABLE, Location
from protea_ray.store.rows import vector_facts
from protea_ray.store.runs import last_run
from protea_ray.store.spaces import SpaceInfo
from protea_ray.store.tables import find_table, open_table


@dataclass(frozen=True)
class TableStatus:
    """One table. `bytes` counts every file under it, those of earlier versions included."""

    name: str
    rows: int
    version: int
    bytes: int


@dataclass(frozen=True)
class SpaceStatus:
    """One vector space: `widths` by pooling, `keys` proteins in `rows` rows, `tokens` the columns of stored logits."""

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

    def described_model(self) -> str:
        """The model, and whether its weights were ever trained."""
        return self.model if self.trained else f"{self.model} (untrained)"

    def vectors(self) -> list[str]:
        """What is stored of a protein: each pooling with its width, residue matrices, logits."""
        stored = [f"{pooling} {width} x {self.store_dtype}" for pooling, width in self.widths.items()]
        stored += [f"residues x {self.residue_width}"] if self.residue_width else []
        return stored + ([f"logits x {len(self.tokens)}"] if self.tokens else [])


SPACE_COLUMNS = ("space", "model", "proteins", "vectors", "alias")
TABLE_COLUMNS = ("table", "rows", "version", "bytes on disk")


@dataclass(frozen=True, repr=False)
class StoreStatus:
    """The whole store. `rejects` counts by reason, `writer` says who holds the lease (None: nobody)."""

    uri: str
    proteins: int
    tables: tuple[TableStatus, ...]
    spaces: tuple[SpaceStatus, ...]
    aliases: dict[str, dict[str, Any]]
    rejects: dict[str, int]
    last_run: dict[str, Any] | None
    writer: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain values only; times in ISO format."""
        return _plain(asdict(self))

    def space_rows(self) -> list[tuple[str, ...]]:
        """A row of text for each space, under SPACE_COLUMNS."""
        return [
            (
                space.name,
                space.described_model(),
                f"{space.keys:,}",
                ", ".join(space.vectors()),
                self._names(space.name),
            )
            for space in self.spaces
        ]

    def _names(self, space: str) -> str:
        """The aliases that point to a space."""
        return ", ".join(name for name, alias in self.aliases.items() if alias["space"] == space)

    def facts(self) -> list[str]:
        """Rejects by reason, the last run and the writer, one line each, as far as there are any."""
        lines = []
        if self.rejects:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.rejects.items())
            lines.append(f"rejected: {reasons} (see the table rejects for file, line and id)")
        if self.last_run:
            lines.append(f"last run: {self.last_run['run']} ({self.last_run['kind']})")
        if self.writer:
            lines.append(f"being written by {self.writer}")
        return lines

    def __repr__(self) -> str:
        title = f"{self.uri}: {self.proteins:,} protein records"
        return "\n".join([title, text_table(SPACE_COLUMNS, self.space_rows()), *self.facts()])

    def _repr_html_(self) -> str:
        tables = [(t.name, f"{t.rows:,}", str(t.version), f"{t.bytes:,}") for t in self.tables]
        title = f"{self.uri}: {self.proteins:,} protein records"
        facts = "".join(f"<p>{escape(line)}</p>" for line in self.facts())
        return html_table(title, SPACE_COLUMNS, self.space_rows()) + html_table("", TABLE_COLUMNS, tables) + facts


def status(location: Location) -> StoreStatus:
    """Read every table's latest version; raises StoreError for one that cannot be read."""
    tables = [_table(location, name) for name in location.tables()]
    spaces = [_space(location, t) for t in tables if t.name not in OWN_TABLES]
    rows = {t.name: t.rows for t in tables}
    aliases = {name: asdict(found) for name, found in list_aliases(location).items()}
    return StoreStatus(
        uri=location.uri,
        proteins=rows.get(PROTEINS_TABLE, 0),
        tables=tuple(tables),
        spaces=tuple(s for s in spaces if s is not None),
        aliases=aliases,
        rejects=rejects_by_reason(location),
        last_run=last_run(location),
        writer=_writer(location),
    )


def _table(location: Location, name: str) -> TableStatus:
    table = open_table(location.table(name))
    size = sum(sum(b.column("size_bytes").to_pylist()) for b in table.all_files())
    return TableStatus(name, table.count_rows(), table.version, size)


def _space(location: Location, table: TableStatus) -> SpaceStatus | None:
    vectors = open_table(location.table(table.name), table.version)
    info = SpaceInfo.from_schema(vectors.schema)
    if info is None:
        return None
    return SpaceStatus(
        name=info.name,
        model=info.model,
        family=str(info.config.get("family", "")),
        revision=info.checkpoint.get("revision"),
        trained=info.trained,
        imported=info.imported,
        rows=table.rows,
        keys=vectors.count_rows(FIRST_ROW),
        version=table.version,
        config=info.config,
        run=info.run,
        created=info.created,
        **vector_facts(vectors.schema),
    )


def rejects_by_reason(location: Location) -> dict[str, int]:
    """How many records were rejected for each reason, most frequent first."""
    table = find_table(location.table(REJECTS_TABLE))
    counts: dict[str, int] = {}
    for batch in table.to_batches(columns=["reason"]) if table is not None else ():
        for item in batch.column("reason").value_counts().to_pylist():
            counts[item["values"]] = counts.get(item["values"], 0) + item["counts"]
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _writer(location: Location) -> str | None:
    table = find_table(location.table(LEASE_TABLE))
    holder = read_record(table) if table is not None else None
    now = time.time()
    return holder.describe(now) if holder is not None and holder.state == HELD and holder.blocks(now) else None


def _plain(value: Any) -> Any:
    """Nested dicts, lists and tuples with every time in ISO format, which JSON can hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
