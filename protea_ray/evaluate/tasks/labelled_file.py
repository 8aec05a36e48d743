"""A file of labels of any of the formats, read, checked and brought to one kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate.task import MULTILABEL, RESIDUE
from protea_ray.evaluate.tasks.biotrainer import fasta_files, fasta_rows, is_fasta
from protea_ray.evaluate.tasks.gene_ontology import TermGraph, graph_beside, propagate, read_graph
from protea_ray.evaluate.tasks.kinds import GO, NO_STATE, infer_kind, values_of
from protea_ray.evaluate.tasks.label_columns import is_table, table_rows
from protea_ray.evaluate.tasks.labelled import (
    FileRows,
    LabelRow,
    TaskLabels,
    once,
    raise_if,
    side_problems,
    some,
    without_blanks,
)
from protea_ray.sequences.formats import plain_name

_ENDINGS = ".csv, .tsv, .parquet, .fasta, .fa or .faa, the text formats also compressed"


def labelled_file(path: Path, kind: str = "", columns: tuple[str, str] = ("id", "target")) -> TaskLabels:
    """The task in a table or a FASTA; an empty `kind` is inferred. `columns` are those of a table's ids and targets.

    Raises ConfigError for a file of another format, missing columns or a kind that does not follow, InputError that
    lists the mistakes in the file.
    """
    source = str(path)
    read = _read(path, columns)
    rows, repeated, twice = once(read.rows, source)
    rows, blank = without_blanks(rows)
    problems = [*read.problems, *twice] or side_problems(rows, source)
    kind, why = _kind_of(read, kind, rows, source, problems)
    values, wrong = values_of(kind, rows, source)
    raise_if([*problems, *wrong])
    name = path.name[: len(plain_name(path.name).rpartition(".")[0])]
    made = TaskLabels(name, kind, source, tuple(rows), values, (*read.notes, *why, *repeated, *blank),
                    fasta=fasta_files(path))  # fmt: skip
    if kind == GO:
        return _with_ancestors(made, read_graph(graph_beside(path)))
    return _without_empty(made) if kind == RESIDUE else made


def _kind_of(
    read: FileRows, kind: str, rows: Sequence[LabelRow], source: str, problems: Sequence[str]
) -> tuple[str, list[str]]:
    """The kind that was asked for, else the one that follows and a note on it; nothing follows from a file with
    mistakes, which are raised."""
    if read.of_states and kind not in ("", RESIDUE):
        raise ConfigError(f"{source} has states of residues; its kind is {RESIDUE} and not {kind}", where="task")
    if read.of_states or kind:
        return kind or RESIDUE, []
    raise_if(problems)
    found, why = infer_kind(rows, source)
    return found, [why]


def _read(path: Path, columns: tuple[str, str]) -> FileRows:
    """Rows of a file by its ending; raises ConfigError for another one."""
    if is_fasta(path):
        return fasta_rows(path)
    if is_table(path):
        return table_rows(path, *columns)
    raise ConfigError(f"{path}: labels are read from {_ENDINGS}", where="task")


def _with_ancestors(labelled: TaskLabels, graph: TermGraph) -> TaskLabels:
    """Terms propagated; without proteins that have none below the root."""
    full, notes = propagate(graph, [row.id for row in labelled.rows], labelled.values)
    kept = [bool(terms) for terms in full]
    if not any(kept):
        raise InputError(f"{labelled.source}: no protein has a term below a root of the ontology; the first has "
                         f"{some(labelled.values[0])}")  # fmt: skip
    parents = graph.of(sorted({term for terms in full for term in terms}))
    return replace(chosen(replace(labelled, values=tuple(full)), kept), kind=MULTILABEL, parents=parents,
                   notes=(*labelled.notes, *notes))  # fmt: skip


def _without_empty(labelled: TaskLabels) -> TaskLabels:
    """Without proteins of which no residue has a state."""
    kept = [bool(value.strip(NO_STATE)) for value in labelled.values]
    empty = [row.id for row, keep in zip(labelled.rows, kept, strict=True) if not keep]
    if not any(kept):
        raise InputError(f"{labelled.source}: no residue has a state: the mask is 0 throughout")
    note = f"{len(empty):,} proteins have no residue with a state and are left out ({some(empty)})"
    return replace(chosen(labelled, kept), notes=(*labelled.notes, *([note] if empty else [])))


def chosen(labelled: TaskLabels, kept: list[bool]) -> TaskLabels:
    """The rows of a task for which `kept` is True."""
    pairs = [pair for pair, keep in zip(zip(labelled.rows, labelled.values, strict=True), kept, strict=True) if keep]
    return replace(labelled, rows=tuple(row for row, _ in pairs), values=tuple(value for _, value in pairs))
