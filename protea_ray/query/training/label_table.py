"""A user's labels as an Arrow table: from a file, from another program's table in memory, or from a dictionary."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from protea_ray.errors import ConfigError, InputError
from protea_ray.sequences.records import text_of
from protea_ray.sequences.rows import BYTES, TableRow, header_of, read_rows, width_problem

if TYPE_CHECKING:
    import pandas
    import polars

    LabelSource = str | Path | pa.Table | Mapping[str, Any] | pandas.DataFrame | polars.DataFrame
else:
    LabelSource = Any

_FORMATS = {".csv": "csv", ".tsv": "tsv"}
LABEL_ENDINGS = (".parquet", *_FORMATS)
_BLOCK = 1 << 20
_SHOWN = 5  # lines named in a message


def label_table(source: LabelSource, id_column: str) -> tuple[str, pa.Table]:
    """What messages call the labels, and their table.

    Raises InputError for a file that cannot be read, ConfigError for what holds no labels.
    """
    if isinstance(source, str | Path):
        return str(source), _read(Path(source), id_column)
    name = "the table of labels"
    if isinstance(source, pa.Table):
        return name, source
    try:
        if isinstance(source, Mapping):
            by_id = id_column not in source
            return name, pa.table({id_column: list(source), "label": list(source.values())} if by_id else dict(source))
        frame: Any = source
        if hasattr(frame, "reset_index"):  # pandas: the ids may be the index
            named = frame if id_column in frame.columns else frame.reset_index(names=id_column)
            return name, pa.Table.from_pandas(named, preserve_index=False)
        if hasattr(source, "__arrow_c_stream__"):
            return name, pa.table(source)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ConfigError(f"{name} cannot be read: {error}", where="labels") from error
    raise ConfigError(f"labels are a path, an Arrow table, a pandas or polars DataFrame or a dictionary, and not "
                      f"{type(source).__name__}", where="labels")  # fmt: skip


def _read(path: Path, id_column: str) -> pa.Table:
    try:
        if path.suffix in _FORMATS:
            with path.open("rb") as file:
                rows = read_rows(iter(lambda: file.read(_BLOCK), b""), _FORMATS[path.suffix], str(path))
                return _typed(rows, str(path), id_column)
        if path.suffix == ".parquet":
            return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as labels: {error}") from error
    raise InputError(f"{path}: labels are read from {', '.join(LABEL_ENDINGS)}")


def _typed(rows: Iterator[TableRow], name: str, id_column: str) -> pa.Table:
    """Rows of text as a table whose types Arrow guesses, but for the ids; raises InputError that lists bad rows."""
    header = header_of(rows, name)
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise InputError(f"{name}: more than one column {', '.join(map(repr, twice))}; rename or remove one")
    text, problems = io.StringIO(newline=""), list[str]()
    writer = csv.writer(text)
    writer.writerow(header)
    for row in rows:
        if problem := width_problem(row, len(header)):
            problems.append(f"{name}:{row.line}: {problem.detail}")
        else:
            writer.writerow(row.cells)
    if problems:
        more = [f"{name}: and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise InputError([*problems[:_SHOWN], *more])
    raw = text_of(text.getvalue().encode(*BYTES)).encode()
    as_text = pa_csv.ConvertOptions(column_types={id_column: pa.string()})
    quoted = pa_csv.ParseOptions(newlines_in_values=True)
    return pa_csv.read_csv(io.BytesIO(raw), parse_options=quoted, convert_options=as_text)
