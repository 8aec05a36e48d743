"""`protea-ray import`, `export` and `convert-protea`: other programs' files, in and out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protea_ray.cli.embed import ray_session
from protea_ray.cli.loudness import QUIET
from protea_ray.cli.options import JSON, NEW_STORE, STORE, tells_untrained
from protea_ray.cli.terminal import say

if TYPE_CHECKING:
    from protea_ray.exchange.importing import Imported
    from protea_ray.query.export import Exported


def import_(
    vectors: Annotated[
        str, typer.Argument(metavar="VECTORS", help="FastESM's SQLite or .pth, fair-esm's folder, or .h5 files")
    ],
    store: NEW_STORE,
    model: Annotated[str, typer.Option("--model", help="what computed the vectors; part of the space's name")],
    pooling: Annotated[str, typer.Option("--pooling", help="column of vectors whose file does not name it")] = "mean",
    layer: Annotated[
        int | None, typer.Option("--layer", help="one of several in fair-esm's or FANTASIA's files [the only one]")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="path below each group of an .h5 file [the only one]"),
    ] = None,
    store_dtype: Annotated[str, typer.Option("--store-dtype", help="float16 or float32")] = "float16",
    fasta: Annotated[list[str] | None, typer.Option("--fasta", help="proteins to add to the store first")] = None,
    unmatched: Annotated[
        Path | None, typer.Option("--unmatched", help="write ids that match no one protein here")
    ] = None,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Import existing VECTORS into a space of STORE, matched to its proteins by id or by sequence.

    Ids are matched as they stand, then by accession. An id of several sequences is left out and counted. Exit code 1,
    and no space, when nothing can be stored.
    """
    from protea_ray.config.paths import require_inputs, require_new_store, require_writable

    require_new_store(store)
    require_inputs([vectors, *(fasta or ())])
    from protea_ray.api import import_vectors

    if unmatched is not None:
        require_writable(unmatched, "--unmatched")
    with ray_session("quiet" if quiet else "normal"):
        done = import_vectors(
            vectors, store, model=model, pooling=pooling, layer=layer, store_dtype=store_dtype, fasta=fasta or (),
            dataset=dataset, quiet=quiet,
        )  # fmt: skip
    if unmatched is not None:
        names = [*done.unmatched_names, *done.ambiguous_names]
        unmatched.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    _print_imported(done)
    if as_json:
        print(json.dumps(done.to_json()))


def _print_imported(done: Imported) -> None:
    """What became of the items of the file."""
    print(f"{done.space}: {done.read:,} vectors read from {done.format}")
    print(f"  {done.stored:,} stored, {done.already_present:,} already present, {done.duplicate:,} of the same letters")
    if done.rejected:
        print(f"  rejected: {', '.join(f'{reason} {count:,}' for reason, count in sorted(done.rejected.items()))}")
    if done.unmatched:
        shown = ", ".join(done.unmatched_names[:3])
        print(f"  {done.unmatched:,} belong to no protein of the store ({shown}{', ...' * (done.unmatched > 3)}); "
              "--fasta adds proteins, and FastESM keys long proteins by the part that it kept")  # fmt: skip
    if done.ambiguous:
        shown = ", ".join(done.ambiguous_names[:3])
        print(f"  {done.ambiguous:,} have an id of several sequences ({shown}{', ...' * (done.ambiguous > 3)}); "
              "a file with sequences, or with whole ids, tells them apart")  # fmt: skip


@tells_untrained
def export(
    store: STORE,
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help=".parquet .arrow .csv .tsv .jsonl .npz .h5ad .h5 .protspace.h5 .pt .fasta; text also .gz",
        ),
    ],
    space: Annotated[str, typer.Option("--space", help="space or alias")] = "current",
    ids: Annotated[list[str] | None, typer.Option("--id", help="a protein's id; repeat for several [all]")] = None,
    where: Annotated[str | None, typer.Option("--where", help="SQL over id, length, description, source")] = None,
    pooling: Annotated[
        str | None,
        typer.Option("--pooling", help="vector column; none: residues, .h5 and .pt only [tables: all, others: mean]"),
    ] = None,
    float32: Annotated[bool, typer.Option("--float32", help="single precision, for readers without half")] = False,
    version: Annotated[int | None, typer.Option("--version", min=1, help="of the space [the latest]")] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help=".csv, .tsv or .parquet with a column id, for .h5ad [none]")
    ] = None,
    as_json: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Write proteins of STORE with their vectors to OUT, in the format of its ending, for other programs.

    Tables: Parquet, Arrow, CSV, TSV, JSON lines. Vectors: NumPy's npz, AnnData's h5ad, biotrainer's h5, ProtSpace's
    protspace.h5, fair-esm's folder of .pt. Letters: FASTA. Exit code 1 when an --id is not in the store; the others are
    written.
    """
    from protea_ray.cluster.progress import reporter
    from protea_ray.query.export import export as write
    from protea_ray.query.reader import open_store

    opened = open_store(store)
    with reporter("quiet" if quiet else "normal") as report:
        done = write(
            opened, out, space=space, ids=ids, where=where, pooling=pooling, float32=float32, version=version,
            labels=labels, report=report,
        )  # fmt: skip
    _print_exported(done)
    if as_json:
        print(json.dumps({**done.to_json(), "trained": opened.view(space, version).info.trained}))
    if done.unknown:
        raise typer.Exit(1)


def _print_exported(done: Exported) -> None:
    """What was written, what is not in the file, and why."""
    say(f"{done.rows:,} rows written to {done.path}")
    if done.left_out:
        say(f"  {done.left_out:,} left out: they have no vector")
    for note in done.notes:
        say(f"  {note}")
    if done.unknown:
        more = ", ..." if len(done.unknown) > 3 else ""
        print(
            f"  {len(done.unknown):,} ids are not in the store ({', '.join(done.unknown[:3])}{more})", file=sys.stderr
        )


def convert_protea(
    file: Annotated[str, typer.Argument(metavar="FILE.json", help="PROTEA embedding config, one JSON object")],
    out: Annotated[str | None, typer.Option("--out", metavar="run.yaml", help="file to write [print it]")] = None,
) -> None:
    """Turn a PROTEA embedding config into a run.yaml for `embed --config`, and say what means something else here."""
    import yaml

    from protea_ray.config.paths import require_inputs, require_writable
    from protea_ray.exchange.protea_config import convert, read_protea

    if out is not None:
        require_writable(out, "--out")
    require_inputs([file])
    converted = convert(read_protea(file))
    notes = "".join(f"# {note}\n" for note in converted.notes)
    recipe = yaml.safe_dump(converted.config_fields, sort_keys=False)
    if out is None:
        print(notes + recipe, end="")
        return
    Path(out).write_text(notes + recipe, encoding="utf-8")
    print(*converted.notes, f"Written to {out}; use it with protea-ray embed INPUT STORE --config {out}", sep="\n")
