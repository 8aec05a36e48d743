"""Where the rows of a query go: a file whose ending decides its format, or standard output as a table or as text."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protea_ray.cli.terminal import say

if TYPE_CHECKING:
    import pyarrow as pa

    from protea_ray.query.file_formats.endings import FileFormat
    from protea_ray.query.view import View

FORMATS = ("table", "csv", "tsv", "json", "jsonl")
ROWS_SHOWN = 20  # of a table on a terminal; --out, --format and a pipe give all


@dataclass(frozen=True)
class RowsOut:
    """Where rows go, as a person asked for it. `vectors`: they are wanted on standard output."""

    path: str | None
    format: str
    vectors: bool
    file: FileFormat | None = None

    def columns(self, view: View, pooling: str | None) -> list[str] | None:
        """What must be read of the proteins and their space; None: all poolings."""
        from protea_ray.query.view import CHUNK

        if self.file is not None:
            return self.file.columns(view, self.file.pooling(view, pooling), pooling)
        if self.vectors and pooling is None:
            return None
        vector = [pooling] if self.vectors and pooling is not None else []
        return ["length", "description", *(CHUNK if view.info.chunked else ()), *vector]


def rows_out(out: str | None, format: str | None, vectors: bool, as_json: bool, *, have_vectors: bool) -> RowsOut:
    """Check where rows are to go before any are read; raises ConfigError that lists what cannot be.

    `have_vectors`: the rows of this query have them (neighbours do not).
    """
    from protea_ray.errors import ConfigError
    from protea_ray.query.file_formats.endings import require_format

    problems = []
    if format is not None and format not in FORMATS:
        problems.append(f"--format {format}: there are {', '.join(FORMATS)}")
    if as_json and format not in (None, "json"):
        problems.append(f"--json and --format {format} are two formats; name one")
    if out is not None and format not in (None, "json"):
        problems.append(f"--format {format} is for standard output; the ending of --out decides the file's")
    if vectors and not have_vectors:
        problems.append("--vectors: neighbours are ranks, ids and similarities; --id gives vectors")
    if vectors and out is None and format in (None, "table") and not as_json:
        problems.append("--vectors is for --format csv, tsv, json or jsonl; a table has no room for them")
    if vectors and out is not None:
        problems.append("--vectors is for standard output; the ending of --out decides what a file holds")
    if problems:
        raise ConfigError(problems, where="query")
    holds = ("rows", "vectors", "letters") if have_vectors else ("rows", "letters")
    file = None if out is None else require_format(out, "--out", holds)
    return RowsOut(out, "json" if as_json else format or "table", vectors, file)


def deliver(rows: pa.Table, to: RowsOut, view: View | None = None, pooling: str | None = None) -> None:
    """Write rows to the file, or print them; what is missing goes into the JSON object.

    `view` and `pooling` are of the space that vectors and letters come from.
    """
    if to.file is not None and to.path is not None:
        written = _written(rows, to.file, to.path, view, pooling)
        say_written(written, to, _found(rows))
    elif to.format == "json":
        _print_json(rows, to)
    elif to.format == "table":
        _print_table(rows)
    else:
        _print_text(rows, to)


def _written(rows: pa.Table, file: FileFormat, path: str, view: View | None, pooling: str | None) -> int:
    from protea_ray.errors import StoreError
    from protea_ray.query.file_formats.content import Content
    from protea_ray.query.file_formats.endings import write_file

    if not len(rows):
        raise StoreError(f"0 proteins; {path} was not made")
    column = "" if view is None or file.holds != "vectors" else file.pooling(view, pooling)
    whole = rows if view is None or file.holds != "letters" else _with_letters(rows, view)
    content = Content([whole], view, column)
    written = write_file(content, path, file)
    for note in content.notes:
        say(note)
    return written


def _with_letters(rows: pa.Table, view: View) -> pa.Table:
    """The rows with the letters of their proteins, which neighbours come without."""
    import pyarrow as pa

    if "sequence" in rows.schema.names:
        return rows
    keys = rows["key"].to_pylist()
    records = view.records_by("key", keys, ["key", "sequence"]).to_pylist()
    letters = {row["key"]: row["sequence"] for row in records}
    return rows.append_column("sequence", pa.array([letters[key] for key in keys], pa.string()))


def say_written(written: int, to: RowsOut, facts: dict[str, Any]) -> None:
    """Say how many rows a file holds; as JSON with `facts` about the query, and without the rows."""
    if to.format != "json":
        say(f"{written:,} rows written to {to.path}")
        return
    print(json.dumps({"rows": written, "out": to.path, **facts}))


def _found(rows: pa.Table) -> dict[str, Any]:
    """Whether the model of the rows was trained, and what the query asked for and did not find."""
    from protea_ray.query.view import is_trained, missing

    return {"trained": is_trained(rows), **missing(rows)}


def _print_json(rows: pa.Table, to: RowsOut) -> None:
    """One object: the rows without vectors, or with them as lists, and what was not found."""
    facts = _shown(rows, to)
    found = {"rows": len(rows), "out": None, **_found(rows), "proteins": facts.to_pylist()}
    print(json.dumps(found, default=str))


def _print_table(rows: pa.Table) -> None:
    from protea_ray.cli.show_rows import print_rows, without_vectors

    print_rows(without_vectors(rows), ROWS_SHOWN)


def _print_text(rows: pa.Table, to: RowsOut) -> None:
    """Every row as CSV, TSV or JSON lines; a query without a match says so on standard error."""
    from protea_ray.query.file_formats.text_files import csv_lines, json_lines, tsv_lines

    lines = {"csv": csv_lines, "tsv": tsv_lines, "jsonl": json_lines}[to.format]
    raw = getattr(sys.stdout, "buffer", None)  # UTF-8 whatever the terminal's encoding; a notebook's stream has none
    for text, _ in lines([_shown(rows, to)]):
        raw.write(text) if raw is not None else sys.stdout.write(text.decode())
    sys.stdout.flush()
    if not len(rows):
        print("0 proteins", file=sys.stderr)


def _shown(rows: pa.Table, to: RowsOut) -> pa.Table:
    """The rows as they are printed: keys in hex, vectors only where they are asked for."""
    from protea_ray.cli.show_rows import without_vectors
    from protea_ray.query.file_formats.content import widened, with_readable_keys

    return with_readable_keys(widened(rows)) if to.vectors else without_vectors(rows)
