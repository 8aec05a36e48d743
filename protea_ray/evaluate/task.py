"""A labelled task, joined to the proteins of a store: targets, the split, and which tested proteins have relatives.

Four kinds: `classification` (one of several classes), `multilabel` (any of several terms), `regression` (a number), and
`residue` (one of several states of every residue).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from protea_ray.config.identity import canonical_json
from protea_ray.config.length_groups import LENGTHS, length_subsets
from protea_ray.query.evaluation_status import HEADLINE as HEADLINE

CLASSIFICATION, MULTILABEL, REGRESSION, RESIDUE = "classification", "multilabel", "regression", "residue"
ALWAYS_TRAINS = -1  # the fold of a protein that is never tested
UNRESOLVED = -1  # the state of a residue that has none
FEWEST_PROTEINS = 10  # of a term in training: rarer terms cannot be learned


@dataclass(frozen=True)
class Task:
    """`n` proteins in an order that the store decides (by key), each once.

    `targets`: (n,) int64 numbers of classes; (n,) float64; (n, terms) bool, of a task with a graph propagated to all
    ancestors but the roots; or, of residues, (sum of lengths,) int8 numbers of states, protein after protein.
    `fold` (n,) int8: a protein of fold k is tested by the probe that was trained on the proteins of every other fold;
    ALWAYS_TRAINS is never tested. `group` (n,) int64: relatives share a number. `related` (n,) bool: tested, with a
    relative among the proteins that it is not tested with. `validation` (n,) bool: the file keeps it for choosing the
    number of epochs; none: a tenth of the groups is drawn. `parents`: the graph of the terms, by term, roots with ().
    """

    name: str
    kind: str
    ids: tuple[str, ...]
    keys: tuple[bytes, ...]
    sequences: tuple[str, ...] = field(repr=False)
    targets: np.ndarray = field(repr=False)
    names: tuple[str, ...]
    fold: np.ndarray = field(repr=False)
    group: np.ndarray = field(repr=False)
    related: np.ndarray = field(repr=False)
    split: str
    validation: np.ndarray | None = field(default=None, repr=False)
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(n,) residues."""
        return np.array([len(s) for s in self.sequences], np.int64)

    @cached_property
    def tested(self) -> np.ndarray:
        """(tested,) numbers of the proteins that are tested, ascending. Scores and evidence are in this order."""
        return np.flatnonzero(self.fold != ALWAYS_TRAINS)

    @cached_property
    def folds(self) -> tuple[int, ...]:
        """Numbers of the folds; (0,) where the split was given."""
        return tuple(int(k) for k in np.unique(self.fold[self.tested]))

    def learnable(self, fold: int) -> np.ndarray:
        """(terms,) bool: terms with at least FEWEST_PROTEINS proteins in training, when `fold` is tested."""
        return self.targets[self.fold != fold].sum(axis=0) >= FEWEST_PROTEINS

    def subsets(self, lengths: Sequence[int] = LENGTHS) -> dict[str, np.ndarray]:
        """(tested,) bool by name: all tested proteins, those without relatives in training, and groups by length."""
        length, related = self.lengths[self.tested], self.related[self.tested]
        found = {"all": np.ones(len(self.tested), bool), "without_relatives": ~related}
        for name, (shortest, longest) in length_subsets(lengths).items():
            found[name] = (length >= shortest) & (length <= (longest or np.inf))
        return found

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of everything that a result follows from: proteins, targets, names, split, graph."""
        facts = {"kind": self.kind, "names": self.names, "split": self.split, "parents": dict(self.parents)}
        found = hashlib.sha256(canonical_json(facts).encode())
        for part in (b"".join(self.keys), self.targets.tobytes(), self.fold.tobytes(), self.group.tobytes()):
            found.update(part)
        found.update(b"" if self.validation is None else self.validation.tobytes())
        return found.hexdigest()[:16]
