"""A user's table of labels: CSV or TSV, compressed or not, or Parquet; columns id, target and perhaps split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from protea_ray.errors import ConfigError, InputError, did_you_mean
from protea_ray.evaluate.tasks.labelled import FileRows, LabelRow, source_of, split_word
from protea_ray.sequences.formats import plain_name
from protea_ray.sequences.records import text_of
from protea_ray.sequences.rows import BYTES, header_of, read_rows, width_problem
from protea_ray.sequences.streams import blocks

ENDINGS = (".csv", ".tsv", ".parquet")
SPLIT = "split"


def is_table(path: Path) -> bool:
    """Whether a file's name, without .gz and the like, ends as a table's does."""
    return plain_name(path.name).endswith(ENDINGS)


def table_rows(path: Path, id: str = "id", target: str = "target") -> FileRows:
    """Every row of a table; wrong are those that do not fit the header, have no id, or an unknown split.

    `id` and `target` name its columns; `split` is read where it is there. Targets are text: a list of terms is joined
    by `;`. Raises ConfigError for a column that is missing, InputError for a file that cannot be read.
    """
    names, cells = _parquet(path) if plain_name(path.name).endswith(".parquet") else _text_table(path)
    absent = [column for column in (id, target) if column not in names]
    if absent:
        near = "".join(did_you_mean(column, names) for column in absent)
        raise ConfigError(f"{path} has no column {', '.join(absent)}; it has {', '.join(names)}{near}. A table "
                          "of labels has the columns id, target and, if it is given, split", where="task")  # fmt: skip
    twice = [column for column in (id, target, SPLIT) if names.count(column) > 1]
    if twice:
        raise ConfigError(f"{path} has more than one column {', '.join(twice)}; rename or remove one", where="task")
    at = names.index(id), names.index(target), names.index(SPLIT) if SPLIT in names else None
    rows, problems = list[LabelRow](), list[str]()
    for line, found in cells:
        row, wrong = (None, found) if isinstance(found, str) else _row(line, found, at)
        problems += [f"{path}:{line}: {wrong}"] if wrong else []
        rows += [row] if row is not None else []
    return FileRows(rows, problems)


def _row(line: int, cells: Sequence[str], at: tuple[int, int, int | None]) -> tuple[LabelRow | None, str]:
    """A row, or what is wrong with it."""
    id, target = cells[at[0]].strip(), cells[at[1]].strip()
    if not id:
        return None, "no id"
    split, wrong = ("", "") if at[2] is None else split_word(cells[at[2]])
    return LabelRow(id, target, split, line), f"{id!r}: {wrong}" if wrong else ""


def _text_table(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str] | str]]]:
    """Names of the columns of a CSV or TSV; and the line and the cells of each row, or why it has none."""
    format = plain_name(path.name)[-3:]
    rows = read_rows(blocks(source_of(path, format)), format, str(path))
    names = header_of(rows, str(path))

    def cells() -> Iterator[tuple[int, list[str] | str]]:
        for row in rows:
            problem = width_problem(row, len(names))
            yield row.line, problem.detail if problem else [_decoded(cell) for cell in row.cells]

    return names, cells()


def _decoded(cell: str) -> str:
    return cell if cell.isascii() else text_of(cell.encode(*BYTES))


def _parquet(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str] | str]]]:
    """The same of a Parquet file, where the line is the number of the row."""
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names

        def cells() -> Iterator[tuple[int, list[str] | str]]:
            line = 0
            for batch in file.iter_batches():
                columns = [column.to_pylist() for column in batch.columns]
                for values in zip(*columns, strict=True):
                    line += 1
                    yield line, [as_text(value) for value in values]

        return names, cells()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error


def as_text(value: Any) -> str:
    """A value of a table as a file of text would hold it; nothing for null.

    >>> as_text(["b", "a"]), as_text(1), as_text(None), as_text(True)
    ('b;a', '1', '', 'true')
    """
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case bytes():
            return text_of(value)
        case list():
            return ";".join(as_text(each) for each in value)
        case _:
            return str(value)
