"""`protea-ray query`: proteins of a store by id, by SQL or by similarity."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from protea_ray.cli.options import JSON, STORE, tells_untrained
from protea_ray.cli.outcome import FAILED

if TYPE_CHECKING:
    import pyarrow as pa

    from protea_ray.query.reader import Store
    from protea_ray.query.view import View


IDS = Annotated[list[str] | None, typer.Option("--id", help="a protein's id; repeat for several")]
WHERE = Annotated[str | None, typer.Option("--where", help="SQL over id, length, description, source")]
NEAREST = Annotated[str | None, typer.Option("--nearest", metavar="ID", help="most similar proteins")]
SEQUENCES = Annotated[
    list[str] | None,
    typer.Option("--sequence", metavar="LETTERS", help="most similar to these letters; repeat for several"),
]
FASTA = Annotated[
    list[str] | None,
    typer.Option("--fasta", metavar="FILE", help="... to each sequence of a file, - for standard input; repeat"),
]
K = Annotated[int, typer.Option("-k", min=1, help="how many neighbours of each query")]
SPACE = Annotated[str, typer.Option("--space", help="space or alias")]
POOLING = Annotated[str | None, typer.Option("--pooling", help="vector column that is searched [mean, else the first]")]
APPROXIMATE = Annotated[
    bool, typer.Option("--approximate", help="a search may use the vector index and miss a neighbour")
]
MODEL = Annotated[str | None, typer.Option("--model", help="where the space's checkpoint is now, if it was moved")]
DEVICE = Annotated[str, typer.Option("--device", help="auto, cpu or cuda: what embeds new sequences")]
OUT = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE", help="write all rows; the ending decides the format, as with export"),
]
FORMAT = Annotated[
    str | None, typer.Option("--format", help="table, csv, tsv, json or jsonl on standard output [table]")
]
VECTORS = Annotated[bool, typer.Option("--vectors", help="vectors too, on standard output")]
ALL_SEQUENCES = Annotated[bool, typer.Option("--all-sequences", help="every sequence of an --id, not the newest alone")]


@tells_untrained
def query(
    store: STORE,
    ids: IDS = None,
    where: WHERE = None,
    nearest: NEAREST = None,
    sequences: SEQUENCES = None,
    fasta: FASTA = None,
    k: K = 10,
    space: SPACE = "current",
    pooling: POOLING = None,
    approximate: APPROXIMATE = False,
    model: MODEL = None,
    device: DEVICE = "auto",
    out: OUT = None,
    format: FORMAT = None,
    vectors: VECTORS = False,
    all_sequences: ALL_SEQUENCES = False,
    as_json: JSON = False,
) -> None:
    """Find proteins by id, by SQL or by similarity.

    An id may be an accession. Of an id with several sequences the newest is used, or shown with --all-sequences each.
    Exit code 1 when an --id is unknown or has no vector (the others are shown), and when there is nothing to write to
    --out; a --where that matches nothing prints 0 proteins and exits with 0.

    --sequence and --fasta search with new proteins: they are embedded here as the space was, and nothing is written. A
    record that is no protein is named and left out; exit code 1 when none is left.
    """
    from protea_ray.cli.rows_out import deliver, rows_out, say_written
    from protea_ray.errors import StoreError
    from protea_ray.query.reader import open_store
    from protea_ray.query.similar import SearchOptions, similar_to_new

    new = bool(sequences or fasta)
    _require_one_way([ids, nearest, new], where or out, new, model or device != "auto")
    to = rows_out(out, format, vectors, as_json, have_vectors=not (nearest or new))
    opened = open_store(store)
    view = opened.view(space)
    if out is not None and not (ids or nearest or new):
        written = opened.export(out, space=view.pin, where=where, pooling=pooling).rows
        say_written(written, to, {"trained": view.info.trained})
        return
    if nearest is not None:
        rows = opened.nearest(nearest, k, space=view.pin, pooling=pooling, where=where, approximate=approximate)
    elif new:
        wanted = SearchOptions(k, pooling, where, approximate)
        rows = similar_to_new(view, sequences, fasta or (), wanted, model, device, tell=_tell)
    else:
        rows = _facts(opened, view, ids, where, to.columns(view, pooling), all_sequences)
    absent = _absent(rows, opened, space, by_id=ids is not None)
    if absent and not len(rows) and not as_json:
        raise StoreError(absent)
    deliver(rows, to, view, pooling)
    if absent and ids is not None:
        print(absent, file=sys.stderr)
        raise typer.Exit(FAILED)


def _facts(
    store: Store, view: View, ids: list[str] | None, where: str | None, columns: list[str] | None, all_sequences: bool
) -> pa.Table:
    """Proteins by id, by filter, or by both."""
    from protea_ray.query.lookup import of_pairs

    if ids is None:
        return store.to_arrow(columns=columns, space=view.pin, where=where)
    rows = store.get(ids, columns=columns, space=view.pin, all_sequences=all_sequences)
    return rows if where is None else of_pairs(rows, view.records(where, ["id", "key"]))


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
    from protea_ray.query.view import missing

    left = missing(rows)
    unknown, bare = left["unknown"], left["without_vector"]
    if not by_id:
        return f"0 proteins: {len(bare):,} that match have no vector in this space" if bare and not len(rows) else ""
    parts = [f"{store.uri} has no protein with the id {', '.join(unknown)}"] if unknown else []
    parts += [examples_of_ids(store.view(space))] if unknown and not len(rows) else []
    parts += [f"no vector in this space: {', '.join(bare)}"] if bare else []
    return "; ".join(parts)
