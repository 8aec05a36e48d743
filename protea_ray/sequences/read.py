"""Records of a part as Arrow batches: proteins to store, and rejects with a reason.

The memory in use is one batch, a few blocks and one record, whatever the size of the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from protea_ray.config.recipe import AlphabetName
from protea_ray.errors import ConfigError, InputError
from protea_ray.sequences.columnar import explained, lance_dataset, table_records
from protea_ray.sequences.parts import Columns, Part, Source
from protea_ray.sequences.records import (
    MAX_ID,
    PROTEINS_SCHEMA,
    REJECTS_SCHEMA,
    Found,
    Reason,
    RejectedError,
    checked_id,
    key_of,
    normalise,
    printable,
)
from protea_ray.sequences.structure_letters import ANSWERS, why_3di
from protea_ray.sequences.text import fasta_records, text_records

BATCH_BYTES = 16 << 20
BATCH_ROWS = 8192
_OTHER_ALPHABET = {
    "aa": "structure letters (3Di) of a store; read them with --alphabet 3di",
    "3di": "amino acids of a store; read them with --alphabet aa",
}
LOOKED_AT = 64  # first records of a source that show whether its letters are amino acids


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records: `proteins` of PROTEINS_SCHEMA and `rejects` of REJECTS_SCHEMA, in input order."""

    proteins: pa.RecordBatch
    rejects: pa.RecordBatch


def read_part(
    part: Part,
    columns: Columns,
    label: str,
    run: str,
    batch_bytes: int = BATCH_BYTES,
    limit: int | None = None,
) -> Iterator[Batch]:
    """Read the first `limit` records (all if None) of a part.

    `label` fills the column `source` of both tables, `run` the column `run` of the rejects. A batch is closed at
    `batch_bytes` bytes of text or 8,192 records. A bad record becomes a row of the rejects and reading goes on.
    Raises InputError, with the file's name and what to do, when the file is not what it says.
    """
    stored = _is_of_a_store(part.source)
    gathering = _Gathering(label, run, columns.alphabet, stored)
    for found in islice(records_of(part, columns), limit):
        gathering.add(found)
        if gathering.bytes >= batch_bytes or gathering.rows >= BATCH_ROWS:
            yield gathering.batch()
            gathering = _Gathering(label, run, columns.alphabet, stored)
    if gathering.rows:
        yield gathering.batch()


def require_amino_acids(sources: Iterable[Source], columns: Columns) -> None:
    """Raise ConfigError that names every source whose first records may be 3Di, Foldseek's structure letters.

    For a checkpoint that reads both, when nobody said which. A file that cannot be read is left to the scan.
    """
    problems: list[str] = []
    for source in sources:
        part = Part(source, 0, 0, 0 if source.format == "fasta" else 1, 1)
        with suppress(InputError):
            why = why_3di([record.letters for record in islice(records_of(part, columns), LOOKED_AT)])
            problems += [f"{source.name}: {why}; {ANSWERS}"] if why else []
    if problems:
        raise ConfigError(problems, where="alphabet")


def records_of(part: Part, columns: Columns) -> Iterator[Found]:
    match part.source.format:
        case "fasta":
            return fasta_records(part)
        case "csv" | "tsv" | "jsonl":
            return text_records(part, columns)
        case _:
            return table_records(part, columns)


def _is_of_a_store(source: Source) -> bool:
    """Whether a source is the table of proteins of a store, whose letters are normalised in their own alphabet."""
    if source.format != "lance":
        return False
    with explained(source):
        return set(PROTEINS_SCHEMA.names) <= set(lance_dataset(source).schema.names)


class _Gathering:
    """Gathers the rows of one batch."""

    def __init__(self, label: str, run: str, alphabet: AlphabetName, stored: bool) -> None:
        self._label, self._run, self._stored = label, run, stored
        self._alphabet: AlphabetName = alphabet
        self._proteins: list[tuple[Any, ...]] = []
        self._rejects: list[tuple[Any, ...]] = []
        self.bytes = 0

    @property
    def rows(self) -> int:
        return len(self._proteins) + len(self._rejects)

    def add(self, found: Found) -> None:
        """Check one record and append it to the proteins or to the rejects."""
        try:
            if found.problem:
                raise found.problem
            letters = normalise(found.letters, self._alphabet)
            if self._stored and letters.encode() != found.letters:
                raise RejectedError(Reason.ILLEGAL_LETTER, _OTHER_ALPHABET[self._alphabet])
        except RejectedError as problem:
            self._reject(found, None, problem)
            return
        key = key_of(letters)
        try:
            name = checked_id(found.id)
        except RejectedError as problem:
            self._reject(found, key, problem)
            return
        about = printable(found.description)
        self.bytes += len(letters) + len(name) + len(about)
        self._proteins.append((name, key, len(letters), letters, about, self._label, found.line))

    def _reject(self, found: Found, key: bytes | None, problem: RejectedError) -> None:
        name = printable(found.id, MAX_ID)
        self.bytes += len(name) + len(problem.detail)
        self._rejects.append(
            (name, key, self._label, found.line, "ingest", str(problem.reason), problem.detail, 1, self._run, None)
        )

    def batch(self) -> Batch:
        return Batch(_record_batch(self._proteins, PROTEINS_SCHEMA), _record_batch(self._rejects, REJECTS_SCHEMA))


def _record_batch(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    values = zip(*rows, strict=True) if rows else ((),) * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
