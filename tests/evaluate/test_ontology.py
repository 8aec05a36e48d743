"""Ancestors, propagation, consistent scores, roots and information accretion, against examples by hand."""

from __future__ import annotations

import numpy as np
import pytest

from protea_ray.evaluate.ontology import (
    ancestor_matrix,
    consistent,
    information_accretion,
    is_root,
    propagated,
    root_truth,
    under_roots,
)
from tests.evaluate.made_tasks import BELOW, NAMES, PARENTS, raised

GRAPH = {"root": (), "a": ("root",), "b": ("a",), "c": ("a", "d"), "d": ("root",)}


def test_terms_are_propagated_to_all_ancestors_but_the_root() -> None:
    assert propagated(["c", "unknown"], GRAPH) == {"c", "a", "d"}
    assert propagated(["b"], GRAPH) == {"b", "a"}
    assert propagated(["root"], GRAPH) == set()
    assert propagated([], GRAPH) == set()


def test_a_parent_outside_the_graph_is_passed_over() -> None:
    graph = {"x": ("gone",), "y": ("x", "gone")}
    assert is_root("x", graph)
    assert propagated(["y"], graph) == {"y"}
    assert information_accretion(np.array([[True], [False]]), ("y",), graph).tolist() == [-np.log2(2 / 3)]


def test_a_cycle_ends() -> None:
    assert propagated(["p"], {"p": ("q",), "q": ("p",)}) == {"p", "q"}


def test_the_matrix_holds_a_term_and_its_ancestors() -> None:
    names = ("a", "b", "c", "d")
    found = {(names[row], names[column]) for row, column in np.argwhere(ancestor_matrix(names, GRAPH))}
    assert found == {("a", "a"), ("b", "b"), ("b", "a"), ("c", "c"), ("c", "a"), ("c", "d"), ("d", "d")}
    through = ancestor_matrix(("root", "b"), GRAPH)  # `a` between them is no column
    assert through.tolist() == [[True, False], [True, True]]


def test_a_term_is_as_likely_as_its_most_likely_descendant() -> None:
    ancestors = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool)  # of the terms a, b, d: b is an a
    assert consistent(np.array([[0.2, 0.7, 0.1]]), ancestors).tolist() == [[0.7, 0.7, 0.1]]
    scores = np.random.default_rng(0).random((50, len(NAMES))).astype(np.float32)
    found = consistent(scores, ancestor_matrix(NAMES, PARENTS))
    assert found.dtype == np.float32
    assert (found == raised(scores)).all()
    assert (found >= scores).all()
    assert consistent(scores[:0], ancestor_matrix(NAMES, PARENTS)).shape == (0, len(NAMES))


def test_terms_lie_under_one_root_or_several() -> None:
    assert {root: under.tolist() for root, under in under_roots(NAMES, PARENTS).items()} == {"root": [True] * 8}
    two = {"r": (), "s": (), "unused": (), "a": ("r",), "b": ("s",), "c": ("r", "s")}
    under = under_roots(("a", "b", "c"), two)
    assert {root: rows.tolist() for root, rows in under.items()} == {"r": [True, False, True], "s": [False, True, True]}
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    assert root_truth(targets, under).tolist() == [[True, False], [False, True], [True, True], [False, False]]
    assert root_truth(targets, {"r": under["r"]}).tolist() == [[True]] * 4  # a single one everybody has
    assert root_truth(targets, {}).shape == (4, 0)


def test_information_accretion_by_hand() -> None:
    """Five proteins train; with the one that has every term each count is one more.

    term  parents  has it  has all parents  information accretion
    a     root     4       5                -log2(5 / 6) = 0.263034
    b     root     3       5                -log2(4 / 6) = 0.584963
    c     a, b     1       2                -log2(2 / 3) = 0.584963
    d     a        0       4                -log2(1 / 5) = 2.321928
    e     b        3       3                0, it follows from b
    f     d        0       0                0, nobody has d
    """
    graph = {"root": (), "a": ("root",), "b": ("root",), "c": ("a", "b"), "d": ("a",), "e": ("b",), "f": ("d",)}
    proteins = ["a", "a", "abce", "abe", "be"]
    targets = np.array([[term in terms for term in "abcdef"] for terms in proteins])
    found = information_accretion(targets, tuple("abcdef"), graph)
    assert found.tolist() == pytest.approx([0.263034, 0.584963, 0.584963, 2.321928, 0, 0], abs=1e-6)
    assert found[[4, 5]].tolist() == [0, 0]
    assert (information_accretion(targets[:0], tuple("abcdef"), graph) == 0).all()  # without proteins all counts are 1


def test_information_accretion_below_one_of_several_roots() -> None:
    """Two of three proteins are below r, one of them has a: 2 / 3. One is below r and s: b adds nothing, c 1 / 2."""
    graph = {"r": (), "s": (), "a": ("r",), "b": ("r", "s"), "c": ("r", "s")}
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], bool)
    found = information_accretion(targets, ("a", "b", "c"), graph)
    assert found.tolist() == pytest.approx([-np.log2(2 / 3), 0, 1])


def test_what_is_below_is_what_has_the_term_above() -> None:
    matrix = ancestor_matrix(NAMES, PARENTS)
    for term, below in BELOW.items():
        mine = {name for name, row in zip(NAMES, matrix, strict=True) if row[NAMES.index(term)]}
        assert mine == {term, *below}
