"""`protea-ray compare-variants`: which way to compute a model's vectors is near to exact, good, and affordable.

Progress goes to standard error, tables and advice to standard output. An interrupt ends with exit code 130; what was
finished is in the folder, and the same command goes on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protea_ray.cli.loudness import QUIET, VERBOSE, loudness
from protea_ray.cli.options import JSON, takes_lists

if TYPE_CHECKING:
    from protea_ray.comparison.comparison import Comparison

_BLOCKS = ("fidelity", "loss", "cost")
_VARIANTS = (
    "exact, windows, windows:N, windows:average, truncate, an attention, yarn, ntk, linear, int8, int4, hqq:4, "
    "model:DIR; joined as in local:512+int4, named as in NAME=local:512; commas, or repeated [what the model can do]"
)


@takes_lists(blocks=_BLOCKS)
def compare_variants(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name, hub id or directory")],
    proteins: Annotated[
        str, typer.Option("--proteins", metavar="INPUT", help="sequence file, directory or a store; drawn from it")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="for tables, plots, JSON and Parquet")],
    variants: Annotated[list[str] | None, typer.Option("--variants", metavar="NAMES", help=_VARIANTS)] = None,
    blocks: Annotated[str, typer.Option("--blocks", help="fidelity, loss, cost")] = ",".join(_BLOCKS),
    seed: Annotated[int, typer.Option("--seed", min=0, help="draws proteins and masks residues")] = 0,
    per_bin: Annotated[int, typer.Option("--proteins-per-bin", help="proteins of each range of lengths")] = 50,
    longest: Annotated[
        int | None, typer.Option("--longest", help="residues [8192 for losses, 35213 for costs]", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda")] = "auto",
    beside_model: Annotated[
        bool, typer.Option("--beside-model", help="variants.json beside the weights too: runs warn with its figures")
    ] = False,
    as_json: JSON = False,
    verbose: VERBOSE = False,
    quiet: QUIET = False,
) -> None:
    """Compare the ways to compute the vectors of MODEL: nearness to exact, masked loss by length, time and memory.

    The last paragraph says what to use for proteins longer than the model was trained on. The same command goes on.
    """
    loud = loudness(verbose, quiet)
    from protea_ray.config.paths import require_inputs

    require_inputs([proteins])  # before the seconds that the imports take
    from protea_ray.cluster.progress import reporter
    from protea_ray.comparison.comparison import ComparisonOptions, compare

    wanted = tuple(block.strip() for block in blocks.split(",") if block.strip())
    options = ComparisonOptions(
        tuple(variants) if variants else None, wanted, seed, per_bin, longest, device, beside_model
    )
    with reporter(loud) as report:
        done = compare(model, proteins, out, report, options)
    finish(done, as_json)


def finish(done: Comparison, as_json: bool) -> None:
    """Print the tables, the notes, the advice and what was written; as JSON, everything."""
    from protea_ray.cli.terminal import Column, print_table, say

    for table in done.tables():
        say(table.title)
        print_table([Column(name, right=i > 0) for i, name in enumerate(table.columns())], table.rows())
        for fact in table.facts():
            say(fact)
        say("")
    for note in done.all_notes():
        say(f"note: {note}")
    for line in done.advice.splitlines():
        say(line)
    say(f"written: {', '.join(map(str, done.written))}")
    if as_json:
        print(json.dumps(done.to_json()))
