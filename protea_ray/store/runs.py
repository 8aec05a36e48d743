"""Runs: one row for every run that finished, so that a store holds its own history."""

# lance types its own signatures only in part
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from protea_ray.store.location import RUNS_TABLE, Location
from protea_ray.store.tables import find_table

if TYPE_CHECKING:  # a reader of a store loads nothing that writes
    from protea_ray.store.commit import Writer

RUNS = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # embed, reembed, import, ...
        pa.field("finished", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("summary", pa.string(), nullable=False),  # JSON
    ]
)


def new_run_id() -> str:
    """Make a run's name; names sort by time: 20260214-183000-1a2b3c."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def record_run(
    location: Location, run: str, summary: Mapping[str, Any], *, writer: Writer, kind: str = "embed"
) -> None:
    """Append the row of a finished run. `summary` must be JSON-able, `kind` is the command. Raises CommitError."""
    row = {"run": run, "kind": kind, "finished": datetime.now(UTC), "summary": json.dumps(summary, sort_keys=True)}
    writer.append_table(location.table(RUNS_TABLE), pa.Table.from_pylist([row], RUNS))


def last_run(location: Location) -> dict[str, Any] | None:
    """Read the newest run: run, kind, finished, and summary as a mapping; None when no run was recorded."""
    table = find_table(location.table(RUNS_TABLE))
    rows = table.count_rows() if table is not None else 0
    if table is None or not rows:
        return None
    row = table.take([rows - 1]).to_pylist()[0]
    return {**row, "summary": json.loads(row["summary"])}


def list_runs(location: Location) -> list[dict[str, Any]]:
    """Read every run, oldest first: run, kind, finished, and summary as a mapping."""
    table = find_table(location.table(RUNS_TABLE))
    rows: list[dict[str, Any]] = table.to_table(RUNS.names).to_pylist() if table is not None else []
    return [{**row, "summary": json.loads(row["summary"])} for row in rows]
