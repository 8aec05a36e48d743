"""`protea-ray query`: proteins of a store by id, by SQL or by similarity."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from protea_ray.cli.options import JSON, STORE

if TYPE_CHECKING:
    import pyarrow as pa

    from protea_ray.query.reader import Store

FAILED = 1
ROWS_SHOWN = 20  # of a query that matches more; --out writes all of them


def query(
    store: STORE,
    ids: Annotated[list[str] | None, typer.Option("--id", help="a protein's id; repeat for several")] = None,
    where: Annotated[str | None, typer.Option("--where", help="SQL over id, length, description, source")] = None,
    nearest: Annotated[str | None, typer.Option("--nearest", metavar="ID", help="most similar proteins")] = None,
    sequences: Annotated[
        list[str] | None,
        typer.Option("--sequence", metavar="LETTERS", help="most similar to these letters; repeat for several"),
    ] = None,
    fasta: Annotated[
        list[str] | None,
        typer.Option("--fasta", metavar="FILE", help="... to each sequence of a file, - for standard input; repeat"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="how many neighbours of each query")] = 10,
    space: Annotated[str, typer.Option("--space", help="space or alias")] = "current",
    pooling: Annotated[
        str | None, typer.Option("--pooling", help="vector column that is searched [mean, else the first]")
    ] = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="a search may use the vector index and miss a neighbour")
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", help="where the space's checkpoint is now, if it was moved")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda: what embeds new sequences")] = "auto",
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.parquet", help="write all rows, with vectors")
    ] = None,
    all_sequences: Annotated[
        bool, typer.Option("--all-sequences", help="every sequence of an --id, not the newest alone")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Find proteins by id, by SQL or by similarity.

    An id may be an accession. Of an id with several sequences the newest is used, or shown with --all-sequences each.
    Exit code 1 when an --id is unknown or has no vector; the others are shown.

    --sequence and --fasta search with new proteins: they are embedded here as the space was, and nothing is written. A
    record that is no protein is named and left out; exit code 1 when none is left.
    """
    from protea_ray.config.paths import require_writable
    from protea_ray.errors import StoreError
    from protea_ray.query.reader import open_store
    from protea_ray.query.similar import SearchOptions, similar_to_new

    new = bool(sequences or fasta)
    _require_one_way([ids, nearest, new], where or out, new, model or device != "auto")
    if out is not None:
        require_writable(out, "--out")
    opened = open_store(store)
    if nearest is not None:
        rows = opened.nearest(nearest, k, space=space, pooling=pooling, where=where, approximate=approximate)
    elif new:
        wanted = SearchOptions(k, pooling, where, approximate)
        rows = similar_to_new(opened.view(space), sequences, fasta or (), wanted, model, device, tell=_tell)
    elif ids is not None:
        rows = opened.get(ids, space=space, all_sequences=all_sequences)
    else:
        rows = opened.to_arrow(space=space, where=where)
    absent = _absent(rows, opened, space, by_id=ids is not None)
    if absent and not len(rows) and not as_json:
        raise StoreError(absent)
    _deliver(rows, out, as_json)
    if absent and ids is not None:
        print(absent, file=sys.stderr)
        raise typer.Exit(FAILED)


def _require_one_way(ways: Sequence[object], rest: object, new: bool, embeds: object) -> None:
    """Raise ConfigError unless one of `ways` was asked for, or `rest`; `embeds`: options of new ones were given."""
    from protea_ray.errors import ConfigError

    asked = sum(map(bool, ways))
    if asked > 1 or not (asked or rest):
        raise ConfigError(
            "give one of --id, --nearest, or --sequence and --fasta (each also with --where), or --where, or --out",
            where="query",
        )
    if embeds and not new:
        raise ConfigError("--model and --device are of --sequence and --fasta", where="query")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _absent(rows: pa.Table, store: Store, space: str, by_id: bool) -> str:
    """Which ids are not among the rows, and why; of a filter only how many have no vector, when no row is left."""
    from protea_ray.query.lookup import examples_of_ids
    from protea_ray.query.reader import missing

    left = missing(rows)
    unknown, bare = left["unknown"], left["without_vector"]
    if not by_id:
        return f"0 proteins: {len(bare):,} that match have no vector in this space" if bare and not len(rows) else ""
    parts = [f"{store.uri} has no protein with the id {', '.join(unknown)}"] if unknown else []
    parts += [examples_of_ids(store.view(space))] if unknown and not len(rows) else []
    parts += [f"no vector in this space: {', '.join(bare)}"] if bare else []
    return "; ".join(parts)


def _deliver(rows: pa.Table, out: str | None, as_json: bool) -> None:
    """Write rows with vectors to a file; print them without vectors, as JSON or as a table."""
    from protea_ray.cli.show_rows import print_rows, without_vectors
    from protea_ray.errors import StoreError
    from protea_ray.query.reader import missing

    if out is not None and not len(rows):
        raise StoreError(f"no protein to write; {out} was not made")
    if out is not None:
        import pyarrow.parquet as pq

        pq.write_table(rows, out)
    facts = without_vectors(rows)
    if as_json:
        print(json.dumps({"rows": len(rows), "out": out, **missing(rows), "proteins": facts.to_pylist()}, default=str))
    elif out is not None:
        print(f"{len(rows)} rows written to {out}")
    else:
        print_rows(facts, ROWS_SHOWN)
