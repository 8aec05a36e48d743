"""Labelled tasks for frozen embeddings: proteins with a target each, and a split into training and test.

Three kinds: `classification` (one of several classes), `multilabel` (any of several terms), `regression` (a number).
A task is a Parquet table of its own, id, target, split, so that the training loop reads it like any user's labels.

A split is honest when no test protein has a close relative in training. Where a split is given it is used; else
proteins that share six-letter words are kept on one side. Either way the report counts test proteins that share
words with a training protein; remote homologs are not seen by this and remain.
"""

from __future__ import annotations

import csv
import gzip
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from protea_ray.errors import ConfigError, InputError
from protea_ray.sequences.accessions import examples, match_ids
from protea_ray.sequences.words import SHARED_WORDS, relatives

T = TypeVar("T")
_log = logging.getLogger("protea_ray")
TEST_SHARE = 0.2
FEWEST_PROTEINS = 10  # of a GO term in training: rarer terms cannot be learned here


@dataclass(frozen=True)
class Task:
    """`targets[i]` belongs to `ids[i]`: a class or a number, or a tuple of terms; `split` is train or test.

    `names` are the classes or terms, in the order of the probe's outputs; `ancestors` (terms, terms) is True where
    the column's term is an ancestor of the row's, or itself.
    """

    name: str
    kind: str
    ids: list[str]
    targets: list[Any]
    split: list[str]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    ancestors: np.ndarray | None = field(default=None, repr=False)

    def encoded(self) -> np.ndarray:
        """Targets as the probe sees them: (n,) int64, (n,) float32 or (n, terms) float32."""
        if self.kind == "regression":
            return np.array(self.targets, np.float32)
        number = {name: i for i, name in enumerate(self.names)}
        if self.kind == "classification":
            return np.array([number[t] for t in self.targets], np.int64)
        hot = np.zeros((len(self.ids), len(self.names)), np.float32)
        for row, terms in enumerate(self.targets):
            hot[row, [number[t] for t in terms if t in number]] = 1
        return hot


def localization(folder: Path) -> Task:
    """DeepLoc 1.0: ten compartments, the given training and test proteins. Double labels are left out and counted."""
    rows = _table(folder / "labels.tsv")
    single = [r for r in rows if r["label"] != "Cytoplasm-Nucleus"]
    notes = (f"{len(rows) - len(single)} proteins with the double label Cytoplasm-Nucleus are left out.",
             "The split is the given one.")  # fmt: skip
    labels = [r["label"] for r in single]
    return Task("localization", "classification", [r["id"] for r in single], labels, [r["split"] for r in single],
                tuple(sorted(set(labels))), notes)  # fmt: skip


def gene_ontology(folder: Path, aspect: str, sequences: Mapping[str, str]) -> Task:
    """GO terms of one aspect (mf, cc or bp), propagated to all ancestors but the root; split by shared words.

    `sequences` are those of the store by id; the ontology is {aspect}_ontology.tsv or the same name with .gz. Raises
    ConfigError for an aspect whose ontology is not given.
    """
    ontology = folder / f"{aspect}_ontology.tsv"
    if not ontology.exists() and not (ontology := folder / f"{ontology.name}.gz").exists():
        raise ConfigError(f"{ontology} is missing: terms of {aspect} cannot be propagated", where="task")
    parents = {r["go"]: [p for p in r["parents"].split(";") if p] for r in _table(ontology)}
    leaves = {r["accession"]: r["GO"].split(";") for r in _table(folder / f"{aspect}_go.tsv")}
    known = of_store(leaves, sequences, folder)
    full = {id: propagated(terms, parents) for id, terms in known.items()}
    ids = [id for id, terms in full.items() if terms]
    split = split_by_words([sequences[id] for id in ids])
    counts: dict[str, int] = {}
    for id, side in zip(ids, split, strict=True):
        for term in full[id] if side == "train" else ():
            counts[term] = counts.get(term, 0) + 1
    names = tuple(sorted(t for t, n in counts.items() if n >= FEWEST_PROTEINS))
    chosen = set(names)
    kept = [(id, side, terms) for id, side in zip(ids, split, strict=True) if (terms := full[id] & chosen)]
    notes = (f"{len(names)} terms with at least {FEWEST_PROTEINS} training proteins, propagated to their ancestors; "
             "the root is left out.",
             f"{len(leaves) - len(known)} annotated proteins are not in the store; {len(known) - len(kept)} have none "
             "of the terms.",
             f"Proteins that share {SHARED_WORDS} or more six-letter words are on one side of the split.",
             "Evidence codes of the annotations were not checked.")  # fmt: skip
    return Task(f"go-{aspect}", "multilabel", [id for id, _, _ in kept], [tuple(sorted(t)) for *_, t in kept],
                [side for _, side, _ in kept], names, notes, ancestor_matrix(names, parents))  # fmt: skip


def own_table(path: Path, kind: str, sequences: Mapping[str, str]) -> Task:
    """A user's CSV or TSV: id, target (terms apart by `;`), and split (train, test) if there is one."""
    rows = _table(path)
    missing = {"id", "target"} - set(rows[0] if rows else ())
    if missing:
        raise ConfigError(f"{path} has no column {', '.join(sorted(missing))}", where="labels")
    by_id = {r["id"]: r for r in rows}
    if len(by_id) < len(rows):
        raise InputError(f"{path}: {len(rows) - len(by_id):,} id(s) stand in several rows; keep one of each")
    rows = [{**row, "id": id} for id, row in of_store(by_id, sequences, path).items()]
    lost = (f"{len(by_id) - len(rows):,} of {len(by_id):,} rows are of no protein of the store.",)
    lost = lost if len(rows) < len(by_id) else ()
    if "split" in (rows[0] if rows else ()):
        split, note = [r["split"] for r in rows], "The split is that of the file."
    else:
        split = split_by_words([sequences[r["id"]] for r in rows])
        note = f"Proteins that share {SHARED_WORDS} or more six-letter words are on one side of the split."
    if set(split) != {"train", "test"}:
        raise InputError(f"{path}: the split must hold train and test, it holds {sorted(set(split))}")
    ids = [r["id"] for r in rows]
    if kind == "regression":
        return Task(path.stem, kind, ids, [float(r["target"]) for r in rows], split, (), (note, *lost))
    if kind == "multilabel":
        targets = [tuple(t for t in r["target"].split(";") if t) for r in rows]
        return Task(
            path.stem, kind, ids, targets, split, tuple(sorted({t for ts in targets for t in ts})), (note, *lost)
        )
    classes = [r["target"] for r in rows]
    return Task(path.stem, kind, ids, classes, split, tuple(sorted(set(classes))), (note, *lost))


def of_store(by_id: Mapping[str, T], sequences: Mapping[str, str], source: Path) -> dict[str, T]:
    """The values whose ids are in the store, under the stored ids; ids are matched as they stand, then by accession.

    Raises InputError when there is none, with examples of both. An accession of several stored ids is left out.
    """
    asked, stored = list(by_id), list(sequences)
    match = match_ids(asked, pa.array(stored, pa.string()))
    for sentence in match.sentences():
        _log.warning("%s: %s", source, sentence)
    known = {id: by_id[name] for name, id in zip(asked, match.ids.to_pylist(), strict=True) if id is not None}
    if not known:
        raise InputError(f"{source}: none of {len(asked):,} ids is in the store: they look like {examples(asked)}, the "
                         f"store's like {examples(stored)}")  # fmt: skip
    return known


def _table(path: Path) -> list[dict[str, str]]:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def propagated(terms: Sequence[str], parents: Mapping[str, Sequence[str]]) -> set[str]:
    """The terms and all their ancestors, without the root (the one that has no parents) and without unknown terms."""
    found, waiting = set(), [t for t in terms if t in parents]
    while waiting:
        term = waiting.pop()
        if term not in found:
            found.add(term)
            waiting += [p for p in parents.get(term, ()) if p in parents]
    return {t for t in found if parents[t]}


def ancestor_matrix(names: Sequence[str], parents: Mapping[str, Sequence[str]]) -> np.ndarray:
    """(terms, terms), True where the column's term is the row's or one of its ancestors."""
    number = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), bool)
    for name, row in number.items():
        matrix[row, [number[a] for a in propagated([name], parents) if a in number]] = True
    return matrix


def consistent(scores: np.ndarray, ancestors: np.ndarray) -> np.ndarray:
    """Every term at least as likely as its most likely descendant; scores (n, terms)."""
    return np.stack([scores[:, ancestors[:, term]].max(axis=1) for term in range(scores.shape[1])], axis=1)


def split_by_words(sequences: Sequence[str], seed: int = 0) -> list[str]:
    """train or test for each sequence, about a fifth in test; relatives of relatives stay together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, pairs = len(sequences), relatives(sequences)
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (n, n))
    count, cluster = connected_components(graph, directed=False)
    order = np.random.default_rng(seed).permutation(count)
    filled = np.cumsum(np.bincount(cluster, minlength=count)[order])
    tested = set(order[filled <= TEST_SHARE * n].tolist())
    return ["test" if c in tested else "train" for c in cluster.tolist()]


def with_relatives(sequences: Sequence[str], split: Sequence[str]) -> np.ndarray:
    """(n,) True for test sequences that share words with a training sequence."""
    test = np.array([side == "test" for side in split])
    pairs = relatives(sequences)
    across = pairs[test[pairs[:, 0]] != test[pairs[:, 1]]]
    found = np.zeros(len(sequences), bool)
    found[across.ravel()] = True
    return found & test
