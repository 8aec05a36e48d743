"""`protea-ray report`: everything that a store can show, in one file for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protea_ray.cli.loudness import QUIET, VERBOSE, loudness
from protea_ray.cli.options import JSON, STORE, tells_untrained

if TYPE_CHECKING:
    from protea_ray.reporting.write import WrittenReport

MAP = "Map"


@tells_untrained
def report(
    store: STORE,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="the page; an earlier report is replaced")] = Path(
        "report.html"
    ),
    space: Annotated[str | None, typer.Option("--space", help="space or alias [current]")] = None,
    against: Annotated[str | None, typer.Option("--against", help="a second space, for their drift [none]")] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="DIR", help="also write the pictures there, PNG and SVG [none]"),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="values by id that colour the map [none]", rich_help_panel=MAP),
    ] = None,
    label_column: Annotated[
        list[str] | None,
        typer.Option("--label-column", help="a column of --labels; repeat for several [all]", rich_help_panel=MAP),
    ] = None,
    colour: Annotated[
        str | None,
        typer.Option("--colour", help="column that colours first [the first of names]", rich_help_panel=MAP),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="pca, or umap (protea-ray[umap])", rich_help_panel=MAP)
    ] = "pca",
    pooling: Annotated[str | None, typer.Option("--pooling", help="vector column [mean]", rich_help_panel=MAP)] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="points at most; more are sampled", rich_help_panel=MAP)
    ] = 100_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="of the sample and of UMAP", rich_help_panel=MAP)] = 0,
    as_json: JSON = False,
    verbose: VERBOSE = False,
    quiet: QUIET = False,
) -> None:
    """Write a page about STORE that opens without a network: runs, rejects, lengths, a map of a space, evaluations.

    The map shows neighbours, finds ids and is coloured by any column. With --against also the drift of two spaces.
    """
    loud = loudness(verbose, quiet)
    from protea_ray.cluster.progress import reporter

    with reporter(loud) as told:
        told.phase("reading the store's tables")
        from protea_ray.reporting.gather import ReportOptions
        from protea_ray.reporting.write import write_report
        from protea_ray.store.location import open_location

        options = ReportOptions(
            space, against, pooling, method, labels, tuple(label_column) if label_column else None, colour, limit, seed
        )
        done = write_report(open_location(store), out, options, figures, told.phase)
    _tell(done, as_json)


def _tell(done: WrittenReport, as_json: bool) -> None:
    import json

    from rich.filesize import decimal

    from protea_ray.cli.terminal import say

    print(f"{done.path} written: {decimal(done.bytes)}, {done.points:,} points on the map")
    for note in done.notes:
        say(f"  {note}")
    if done.figures:
        print(f"{len(done.figures)} figures in {done.figures[0].parent}")
    if as_json:
        print(json.dumps(done.to_json()))
