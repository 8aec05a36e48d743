"""A graph of terms (Gene Ontology): ancestors, propagation, consistent scores, roots, and information accretion.

`parents` is the graph by term, roots with (). A parent that is no term of the graph is passed over. A column is a term
of `names`, which never holds a root: every protein has it, so predicting it says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Parents = Mapping[str, Sequence[str]]


def with_ancestors(terms: Iterable[str], parents: Parents) -> set[str]:
    """The terms of the graph among `terms`, and everything above them, roots too."""
    return {t for t in _reached(terms, parents) if t in parents}


def _reached(terms: Iterable[str], edges: Parents) -> set[str]:
    found, waiting = set[str](), list(terms)
    while waiting:
        term = waiting.pop()
        if term not in found:
            found.add(term)
            waiting += edges.get(term, ())
    return found


def propagated(terms: Iterable[str], parents: Parents) -> set[str]:
    """The terms and all their ancestors but the roots; unknown terms are passed over."""
    return {t for t in with_ancestors(terms, parents) if not is_root(t, parents)}


def is_root(term: str, parents: Parents) -> bool:
    """Whether nothing of the graph stands above `term`."""
    return not any(p in parents for p in parents[term])


def ancestor_matrix(names: Sequence[str], parents: Parents) -> np.ndarray:
    """(terms, terms) bool, True where the column's term is the row's or one of its ancestors."""
    number = {name: column for column, name in enumerate(names)}
    matrix = np.eye(len(names), dtype=bool)
    for name, row in number.items():
        matrix[row, [number[a] for a in with_ancestors([name], parents) if a in number]] = True
    return matrix


def consistent(scores: np.ndarray, ancestors: np.ndarray) -> np.ndarray:
    """Raise every term's score to that of its most likely descendant; `scores` (n, terms), `ancestors` (terms, terms).

    This is how CAFA propagates predictions (Radivojac et al. 2013).
    """
    by_term = np.ascontiguousarray(scores.T)
    raised = by_term.copy()
    for term, above in enumerate(ancestors):
        places = np.flatnonzero(above)
        if len(places) > 1:
            raised[places] = np.maximum(raised[places], by_term[term])
    return np.ascontiguousarray(raised.T)


def under_roots(names: Sequence[str], parents: Parents) -> dict[str, np.ndarray]:
    """(terms,) bool by root: which terms of `names` lie below it."""
    children: dict[str, list[str]] = {}
    graph = with_ancestors(names, parents)
    for term in graph:
        for parent in parents[term]:
            children.setdefault(parent, []).append(term)
    below = {root: _reached([root], children) for root in sorted(graph) if is_root(root, parents)}
    return {root: np.array([name in terms for name in names], bool) for root, terms in below.items()}


def root_truth(targets: np.ndarray, under: Mapping[str, np.ndarray]) -> np.ndarray:
    """(n, roots) bool: who has which root. A single root everybody has, of several those of one's own terms."""
    if len(under) == 1:
        return np.ones((len(targets), 1), bool)
    columns = [targets[:, below].any(axis=1) for below in under.values()]
    return np.stack(columns, axis=1) if columns else np.zeros((len(targets), 0), bool)


def information_accretion(targets: np.ndarray, names: Sequence[str], parents: Parents) -> np.ndarray:
    """(terms,) bits that a term adds to its parents: -log2((1 + n(term)) / (1 + n(all its parents))).

    n counts proteins of `targets` (n, terms), the propagated annotations of training; the one more is a protein that
    has every term, by which terms of no protein are defined too (Clark and Radivojac 2013,
    doi:10.1093/bioinformatics/btt228; as CAFA's script computes it). Exactly 0 where a term follows from its parents.
    """
    number = {name: column for column, name in enumerate(names)}
    under = under_roots(names, parents)
    root_number = {root: column for column, root in enumerate(under)}
    has, has_root = np.ascontiguousarray(targets.T), np.ascontiguousarray(root_truth(targets, under).T)
    bits = np.zeros(len(names))
    for name, column in number.items():
        above = [has[number[p]] if p in number else has_root[root_number[p]] for p in parents[name] if p in parents]
        with_parents = np.logical_and.reduce(above).sum()
        with_term = has[column].sum()
        if with_term != with_parents:
            bits[column] = -np.log2((1 + with_term) / (1 + with_parents))
    return bits
