"""`protea-ray rejects`: what was not stored, with file, line and reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from protea_ray.cli.options import JSON, STORE
from protea_ray.cli.rows_out import ROWS_SHOWN

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = ("file", "line", "id", "reason", "detail", "stage")


def rejects(
    store: STORE,
    space: Annotated[
        str | None, typer.Option("--space", help="what has no vector in this space or alias [all]")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="one kind alone, such as illegal_letter [all]")] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE", help="write them: .fasta (letters) or .csv .tsv .jsonl .parquet .arrow"),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Show what STORE rejected: file, line, id and reason of every record without a vector.

    Records are rejected while they are read (stage ingest: in no space) or while they are embedded (in one space). What
    a later run stored is left out. Exit code 0 also when there are none.
    """
    from protea_ray.query.file_formats.endings import require_format
    from protea_ray.query.reader import open_store
    from protea_ray.query.rejected import counts_of

    if out is not None:
        require_format(out, "--out", ("rows", "letters"))
    opened = open_store(store)
    rows = opened.rejects(space=space, reason=reason)
    if as_json and out is None:
        shown = rows.drop_columns(["key"]).to_pylist()
        print(json.dumps({"rejects": len(rows), "reasons": counts_of(rows), "out": None, "rows": shown}))
    elif out is None or not len(rows):
        _print_rejects(rows, store, out)
    else:
        _write(rows, store, out, as_json)


def _print_rejects(rows: pa.Table, store: str, out: str | None) -> None:
    """Counts by reason, then the records: the first 20 on a terminal, all of them in a pipe."""
    from protea_ray.cli.terminal import Column, on_terminal, print_table, say
    from protea_ray.query.rejected import counts_of

    if not len(rows):
        say("0 rejects" + (f"; {out} was not made" if out else ""))
        return
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts_of(rows).items())
    say(f"{len(rows):,} reject{'s' * (len(rows) != 1)}: {reasons}")
    at_most = ROWS_SHOWN if on_terminal() else len(rows)
    cells = [[str(row[name]) for name in _SHOWN] for row in rows.slice(0, at_most).select(_SHOWN).to_pylist()]
    print_table([Column(name, right=name == "line", keep=name != "stage") for name in _SHOWN], cells)
    if len(rows) > at_most:
        say(f"{len(rows) - at_most:,} more; protea-ray rejects {store} --out rejects.csv writes all of them")


def _write(rows: pa.Table, store: str, out: str, as_json: bool) -> None:
    """Write a file and say what is in it."""
    from protea_ray.cli.terminal import say
    from protea_ray.query.rejected import counts_of, write_rejects
    from protea_ray.store.location import open_location

    done = write_rejects(open_location(store), rows, out)
    say(f"{done.rows:,} of {len(rows):,} rejects written to {out}")
    if done.left_out:
        say(f"  {done.left_out:,} left out: no table holds the letters of records rejected while they were read; "
            f"protea-ray rejects {store} names file and line")  # fmt: skip
    if as_json:
        told = {"rejects": len(rows), "reasons": counts_of(rows), "out": out}
        print(json.dumps({**told, "rows_written": done.rows, "left_out": done.left_out}))
