"""`protea-ray status` and `protea-ray query`: what a store holds, and rows of it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

STORE = Annotated[str, typer.Argument(metavar="STORE", help="directory, s3:// or gs:// URI")]
JSON = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
ROWS_SHOWN = 20  # of a query that matches more; --out writes all of them


def status(store: STORE, as_json: JSON = False) -> None:
    """Tables, spaces, models and the last run of a store."""
    from protea_ray.cli.show import print_status
    from protea_ray.query.store import open_store

    found = open_store(store).status()
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        print_status(found)


def query(
    store: STORE,
    ids: Annotated[list[str] | None, typer.Option("--id", help="a protein's id; repeat for several")] = None,
    where: Annotated[str | None, typer.Option("--where", help="SQL over id, length, description, source")] = None,
    nearest: Annotated[str | None, typer.Option("--nearest", metavar="ID", help="most similar proteins")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="how many with --nearest")] = 10,
    space: Annotated[str, typer.Option("--space", help="space or alias")] = "current",
    pooling: Annotated[str | None, typer.Option("--pooling", help="vector column of --nearest")] = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="--nearest may use the vector index and miss a neighbour")
    ] = False,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.parquet", help="write all rows, with vectors")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Find proteins by id, by SQL or by similarity."""
    from protea_ray.errors import ConfigError
    from protea_ray.query.store import open_store

    if (ids is not None) + (nearest is not None) > 1 or not (ids or nearest or where or out):
        raise ConfigError("give --id or --nearest (either may go with --where), --where alone, or --out", where="query")
    opened = open_store(store)
    if nearest is not None:
        rows = opened.nearest(nearest, k, space=space, pooling=pooling, where=where, approximate=approximate)
    elif ids is not None:
        rows = opened.get(ids, space=space)
    else:
        rows = opened.to_arrow(space=space, where=where)
    _deliver(rows, out, as_json)


def _deliver(rows: Any, out: str | None, as_json: bool) -> None:
    """To a file with vectors, to JSON or to a table on the screen without them."""
    from protea_ray.cli.show import print_rows, without_vectors

    if out is not None:
        import pyarrow.parquet as pq

        pq.write_table(rows, out)
    facts = without_vectors(rows)
    if as_json:
        print(json.dumps({"rows": len(rows), "out": out, "proteins": facts.to_pylist()}, default=str))
    elif out is not None:
        print(f"{len(rows)} rows written to {out}")
    else:
        print_rows(facts, ROWS_SHOWN)
