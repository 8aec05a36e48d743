"""A user's labels, joined to proteins by id. Labels that do not join are counted by reason and logged."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from protea_ray.errors import ConfigError, InputError
from protea_ray.query.training.label_codes import chosen_rows, with_codes
from protea_ray.query.training.label_table import LabelSource, label_table
from protea_ray.sequences.accessions import examples, match_ids
from protea_ray.sequences.columnar import without_views

_SHOWN = 5  # ids named in a message
_log = logging.getLogger("protea_ray")


@dataclass(frozen=True)
class Labels:
    """One row per id: `ids` (n,), and `columns`, a table of the label columns (n rows), without nulls unless asked for.

    `blank` counts ids that had no value in one of the columns, `not_chosen` those that `where` left out; neither are
    here, and both are reported. `classes` gives the values of each column of numbers that stand for them, and
    `per_residue` the columns of lists with one number for each residue.
    """

    source: str
    ids: pa.Array
    columns: pa.Table
    blank: int
    not_chosen: int = 0
    classes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    per_residue: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelReport:
    """How many labelled ids were used, and why the others were not.

    Every id of the file is in exactly one of `used`, `unknown` (no protein of the store has it), `ambiguous` (several
    stored ids share the accession), `filtered` (its protein does not pass the filter), `without_vector` (the space has
    no vector of it), `blank`, and `not_chosen` (the labels' own `where` leaves it out). `several` of those used have
    more than one sequence in the store: the newest with a vector carries the label. `unlabelled` counts the protein
    records that have a vector and no label; they are not part of the data set.
    """

    source: str
    ids: int
    used: int
    unknown: int
    without_vector: int
    blank: int
    unlabelled: int
    unknown_ids: tuple[str, ...] = ()  # the first few
    filtered: int = 0
    ambiguous: int = 0
    several: int = 0
    several_ids: tuple[str, ...] = ()  # the first few
    not_chosen: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "unknown_ids": list(self.unknown_ids), "several_ids": list(self.several_ids)}

    def __str__(self) -> str:
        named = f" ({', '.join(self.unknown_ids)}, ...)" if self.unknown_ids else ""
        more = f", {self.ambiguous:,} of several stored ids" if self.ambiguous else ""
        more += f", {self.filtered:,} not in the filter" if self.filtered else ""
        more += f", {self.not_chosen:,} not chosen by labels_where" if self.not_chosen else ""
        newest = f" {self.several:,} ids have several sequences, the newest is used ({', '.join(self.several_ids)})."
        return (
            f"{self.source}: {self.used:,} of {self.ids:,} labelled ids are used; {self.unknown:,} unknown{named}, "
            f"{self.without_vector:,} without a vector, {self.blank:,} without a value{more}. "
            f"{self.unlabelled:,} embedded records have no label and are left out." + newest * bool(self.several)
        )

    def say(self) -> None:
        """Log it: as a warning when labels were lost or an id has several sequences, else for information."""
        lost = self.unknown + self.without_vector + self.blank + self.ambiguous + self.several
        _log.log(logging.WARNING if lost else logging.INFO, "%s", self)


def wanted_labels(
    source: LabelSource | Labels | None,
    *,
    where: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
    per_residue: Sequence[str] = (),
) -> Labels | None:
    """Labels as `read_labels` reads them, None for none; raises ConfigError for wishes about labels without any."""
    if source is not None:
        return read_labels(source, where=where, classes=classes, per_residue=per_residue)
    if where or classes or per_residue:
        raise ConfigError("labels_where, classes and residue_labels need labels", where="labels")
    return None


def read_labels(
    source: LabelSource | Labels,
    *,
    id_column: str = "id",
    columns: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
    per_residue: Sequence[str] = (),
    keep_blank: bool = False,
) -> Labels:
    """Labels from a Parquet, CSV or TSV file, or from a table in memory; `columns` None takes all but the id.

    A table in memory is Arrow's, pandas' or polars', a dictionary of columns, or one of values by id. `where` chooses
    rows, `{"split": "train"}` or `{"split": ["train", "valid"]}`. Columns in `classes` become numbers of their sorted
    values, and columns in `per_residue`, a text with one letter a residue or a list with one number, become lists of
    numbers. Both are numbered over all rows, so that every split has the same numbers. `keep_blank` keeps rows that
    lack a value in one of the columns, as null.

    Ids are text, whatever they look like. Repeated rows count once. What a quote means in a CSV or TSV is for
    `sequences.rows`, as for proteins. Raises InputError for a file of another kind, for rows that do not fit the
    header and for an id with two different labels, ConfigError for columns that are not there or cannot be what they
    are asked to be.
    """
    if isinstance(source, Labels):
        if where or classes or per_residue:
            raise ConfigError("these labels were read already; give where, classes and per_residue to read_labels",
                              where="labels")  # fmt: skip
        return source
    name, table = label_table(source, id_column)
    wanted = [c for c in table.column_names if c != id_column] if columns is None else list(columns)
    named = [id_column, *wanted, *(where or ()), *classes, *per_residue]
    absent = [c for c in dict.fromkeys(named) if c not in table.column_names]
    if absent or not wanted:
        raise ConfigError(f"{name} has no column {', '.join(absent) or 'of labels'}; it has "
                          f"{', '.join(table.column_names)}", where="labels")  # fmt: skip
    table = without_views(table.select(list(dict.fromkeys(named))))
    try:
        ids = table[id_column].cast(pa.string())
    except pa.ArrowException as error:
        raise ConfigError(f"{name}: column {id_column!r} holds {table[id_column].type}, where text is needed; cast it",
                          where="labels") from error  # fmt: skip
    chosen = chosen_rows(name, table, where or {})
    table, numbered = with_codes(name, table.select(wanted), classes, per_residue)
    table = table.add_column(0, "id", ids)
    left_out = len(ids.unique()) - len(ids.filter(chosen).unique())
    found = _checked(name, table.filter(chosen).combine_chunks(), keep_blank)
    return replace(found, classes=numbered, per_residue=tuple(per_residue), not_chosen=left_out)


def _checked(name: str, table: pa.Table, keep_blank: bool) -> Labels:
    """Labels of rows that lack no value, or no id, each id once; raises InputError for an id with two labels."""
    full = table.filter(table["id"].is_valid()) if keep_blank else table.drop_null()
    codes = full["id"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first, which = np.unique(codes, return_index=True, return_inverse=True)
    again = np.setdiff1d(np.arange(len(full)), first).tolist()
    differ = {full["id"][row].as_py() for row in again if full.slice(row, 1) != full.slice(first[which[row]], 1)}
    if differ:
        shown = ", ".join(sorted(differ)[:_SHOWN])
        raise InputError(f"{name}: {len(differ)} id(s) have more than one label: {shown}; keep one of each")
    once = full.take(pa.array(np.sort(first))) if again else full
    blank = len(table["id"].unique()) - len(once)
    return Labels(name, once["id"].combine_chunks(), once.drop_columns(["id"]), blank)


@dataclass(frozen=True)
class LabelMatch:
    """Labels matched to stored ids: `stored` (n,) is the id that each label belongs to, null for none.

    `ambiguous` (n,) is True where several stored ids share the accession. `sentences` say how ids were understood.
    """

    stored: pa.Array
    ambiguous: np.ndarray
    sentences: tuple[str, ...]

    def rows(self, ids: pa.ChunkedArray) -> np.ndarray:
        """Row of the labels for each stored id, -1 where there is none; (n,) int32."""
        at: pa.ChunkedArray = pc.call_function("index_in", [ids], pc.SetLookupOptions(self.stored, skip_nulls=True))
        return at.fill_null(-1).to_numpy().astype(np.int32)


def match_labels(labels: Labels, ids: pa.ChunkedArray) -> LabelMatch:
    """Match the labels' ids to the store's, as they stand and then by accession.

    Raises InputError where two labels belong to one protein, which are named.
    """
    match = match_ids(labels.ids, ids)
    stored = match.ids.cast(pa.string())
    _refuse_twice(labels, stored)
    said = match.sentences()
    if match.several.any():
        said.append(f"{int(match.several.sum()):,} ids are the accession of several stored ids and are left out: "
                    f"{'; '.join(match.ambiguities())}")  # fmt: skip
    return LabelMatch(stored, match.several, tuple(said))


def _refuse_twice(labels: Labels, stored: pa.Array) -> None:
    """Raise InputError when several of the labels' ids are names of one stored id."""
    counts = stored.drop_null().value_counts()
    again = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(again):
        first = again[0].as_py()
        names = labels.ids.filter(pc.equal(stored, first).fill_null(False)).to_pylist()
        raise InputError(f"{labels.source}: {len(again):,} protein(s) are labelled under several names: "
                         f"{' and '.join(names)} are all {first}; keep one of each")  # fmt: skip


def label_report(
    labels: Labels, match: LabelMatch, passed: np.ndarray, used: np.ndarray, unlabelled: int, several: np.ndarray
) -> LabelReport:
    """`passed`, `used` and `several` are label rows (-1 allowed).

    They belong to records that pass the filter, to those that have a vector, and to ids with several sequences.
    """
    n = len(labels.ids)
    is_known = match.stored.is_valid().to_numpy(zero_copy_only=False)
    is_passed, is_used = _among(passed, n), _among(used, n)
    unknown = np.flatnonzero(~is_known & ~match.ambiguous)
    twice = np.flatnonzero(_among(several, n) & is_used)
    return LabelReport(
        source=labels.source,
        ids=n + labels.blank + labels.not_chosen,
        used=int(is_used.sum()),
        unknown=len(unknown),
        without_vector=int((is_passed & ~is_used).sum()),
        blank=labels.blank,
        unlabelled=unlabelled,
        unknown_ids=_first_ids(labels, unknown),
        filtered=int((is_known & ~is_passed).sum()),
        ambiguous=int(match.ambiguous.sum()),
        several=len(twice),
        several_ids=_first_ids(labels, twice),
        not_chosen=labels.not_chosen,
    )


def examples_of(labels: Labels) -> str:
    """What the labels' ids look like, for a message."""
    return examples(labels.ids[:4].to_pylist())


def _among(rows: np.ndarray, n: int) -> np.ndarray:
    """(n,) True at these rows; -1 is none."""
    marked = np.zeros(n, bool)
    marked[rows[rows >= 0]] = True
    return marked


def _first_ids(labels: Labels, rows: np.ndarray) -> tuple[str, ...]:
    return tuple(labels.ids.take(pa.array(rows[:_SHOWN])).to_pylist())
