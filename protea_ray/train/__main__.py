"""`python -m protea_ray.train PROTEINS.parquet OUT`: train on one table in this process, without Ray and without Lance.

For a machine that has torch and a GPU and nothing else. The table has the columns id and sequence, and may have cluster
and is_validation; without them clusters are made first. Knobs are those of `protea-ray train`:

    python -m protea_ray.train proteins.parquet out --set shape=default --set epochs=30 --set run.compile=off

The same command goes on from where the last one stopped. `--stop-after` is for machines that are lent for a time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from protea_ray.config.run import load_fields
from protea_ray.config.training import training_run
from protea_ray.errors import ProteaRayError

STOPPED = 130  # as a shell has it for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; returns its exit code."""
    given = _parser().parse_args(arguments)
    try:
        return _train(given)
    except ProteaRayError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m protea_ray.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("proteins", metavar="PROTEINS.parquet", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], dest="assignments",
                        help="a field of the recipe, or of the options as in run.device=cuda")  # fmt: skip
    parser.add_argument("--config", metavar="FILE", help="the same fields as YAML")
    parser.add_argument("--stop-after", metavar="SECONDS", type=float, help="then write a checkpoint and end")
    return parser


def _train(given: argparse.Namespace) -> int:
    config, options = training_run(load_fields(given.config, given.assignments, {}))
    from protea_ray.train.clusters import split_here
    from protea_ray.train.lines import training_lines
    from protea_ray.train.proteins import from_table
    from protea_ray.train.train_here import train_here

    with training_lines() as report:
        proteins = from_table(given.proteins)
        if not proteins.is_split:
            report.note(f"{len(proteins):,} proteins without a split: clusters of those that share words are made")
            proteins = split_here(proteins, config.validation_share, config.seed)
        held_out = int(proteins.split.sum())
        report.note(f"{len(proteins) - held_out:,} proteins to train on, {held_out:,} to validate")
        done = train_here(config, options, proteins, given.out, report=report, stop_after=given.stop_after)
    print(f"step {done.step:,} of {done.steps:,}, {done.tokens:,} tokens", file=sys.stderr)
    if done.stopped is not None:
        print(f"Stopped ({done.stopped}); the same command goes on from there.", file=sys.stderr)
        return STOPPED
    print(f"model: {done.out / 'model'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
