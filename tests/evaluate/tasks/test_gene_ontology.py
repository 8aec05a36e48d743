"""Terms with their ancestors: OBO files, tables, roots, obsolete and alternative terms."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate.task import MULTILABEL
from protea_ray.evaluate.tasks import read_labelled, read_task
from protea_ray.evaluate.tasks.gene_ontology import TermGraph, read_graph
from tests.evaluate.tasks.made import N, id_of, view_of, write_rows
from tests.shared_data import shared

OBO = """format-version: 1.2

[Term]
id: GO:1
name: root
namespace: molecular_function

[Term]
id: GO:2
namespace: molecular_function
alt_id: GO:20
is_a: GO:1 ! root

[Term]
id: GO:3
namespace: molecular_function
is_a: GO:1 {source="x"} ! root
relationship: part_of GO:2 ! two
relationship: regulates GO:6 ! not followed
relationship: part_of GO:9 ! of another aspect

[Term]
id: GO:4
namespace: molecular_function
is_a: GO:3

[Term]
id: GO:5
namespace: molecular_function
is_obsolete: true

[Term]
id: GO:6
namespace: molecular_function
is_a: GO:1

[Term]
id: GO:9
namespace: biological_process

[Typedef]
id: part_of
is_a: GO:1
"""
PARENTS = {"GO:1": (), "GO:2": ("GO:1",), "GO:3": ("GO:1", "GO:2"), "GO:4": ("GO:3",), "GO:6": ("GO:1",), "GO:9": ()}


@pytest.mark.parametrize("ending", [".obo", ".obo.gz"])
def test_an_obo_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"go{ending}"
    path.write_bytes(gzip.compress(OBO.encode()) if ending.endswith("gz") else OBO.encode())
    graph = read_graph(path)
    assert dict(graph.parents) == PARENTS
    assert dict(graph.same) == {"GO:20": "GO:2"}


def test_a_table_gives_the_same_graph(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "x_ontology.tsv", [(term, ";".join(above)) for term, above in PARENTS.items()], "go,parents"
    )
    assert dict(read_graph(path).parents) == PARENTS
    path.write_text(path.read_text().replace("GO:6\tGO:1", "GO:6\tGO:7"))
    with pytest.raises(InputError, match="parent GO:7 is no term of the file"):
        read_graph(path)
    (tmp_path / "empty.obo").write_text("format-version: 1.2\n")
    with pytest.raises(InputError, match="holds no term"):
        read_graph(tmp_path / "empty.obo")


def test_terms_are_propagated_and_roots_left_out() -> None:
    graph = TermGraph(PARENTS, {"GO:20": "GO:2"})
    assert graph.propagated(["GO:4"]) == (("GO:2", "GO:3", "GO:4"), [])
    assert graph.propagated(["GO:20", "GO:6", "GO:5"]) == (("GO:2", "GO:6"), ["GO:5"])
    assert graph.propagated(["GO:1", "GO:9"]) == ((), [])
    assert graph.of(["GO:3"]) == {"GO:1": (), "GO:2": ("GO:1",), "GO:3": ("GO:1", "GO:2")}


def annotated(path: Path) -> Path:
    """P00000 has the root alone, the others GO:4 or GO:6, and P00001 an obsolete one besides."""
    rows = [(id_of(n), "GO:1" if n == 0 else "GO:4" if n % 2 else "GO:6") for n in range(N)]
    rows[1] = (id_of(1), "GO:4;GO:5")
    return write_rows(path, rows, "id,target")


def test_a_users_table_with_an_ontology_beside(tmp_path: Path) -> None:
    path = annotated(tmp_path / "mine.csv")
    with pytest.raises(ConfigError, match=r"no ontology.*put mine\.obo or mine_ontology\.tsv"):
        read_labelled(f"{path}:go", None)
    (tmp_path / "go.obo").write_text(OBO)
    task = read_task(f"{path}:go", None, view_of(tmp_path))
    assert (task.kind, task.names) == (MULTILABEL, ("GO:2", "GO:3", "GO:4", "GO:6"))
    assert task.parents == {term: PARENTS[term] for term in ("GO:1", "GO:2", "GO:3", "GO:4", "GO:6")}
    assert {id: row.tolist() for id, row in zip(task.ids, task.targets, strict=True)} == {
        id_of(n): [True, True, True, False] if n % 2 else [False, False, False, True] for n in range(1, N)
    }
    assert "1 terms are not in the ontology (GO:5)" in task.notes
    assert "1 proteins have no term below the root and are left out (P00000)" in task.notes
    even = read_task(f"{path}:go", None, view_of(tmp_path / "even", range(0, N, 2)))
    assert (even.names, even.parents) == (("GO:6",), {"GO:1": (), "GO:6": ("GO:1",)})
    plain = read_task(f"{path}:multilabel", None, view_of(tmp_path / "other"))
    assert plain.parents == {}
    foreign = write_rows(tmp_path / "foreign.csv", [(id_of(0), "HP:1")], "id,target")
    with pytest.raises(InputError, match=r"foreign\.csv: no protein has a term below a root.*HP:1"):
        read_labelled(f"{foreign}:go", None)
    (tmp_path / "second.obo").write_text(OBO)
    with pytest.raises(ConfigError, match=r"several ontologies, go\.obo, second\.obo; name the right one mine\.obo"):
        read_labelled(f"{path}:go", None)
    (tmp_path / "mine.obo").write_text(OBO)
    assert read_task(f"{path}:go", None, view_of(tmp_path / "third")).digest == task.digest


def test_a_real_obo_file_agrees_with_a_reading_line_by_line() -> None:
    """GO slim: every is_a and part_of line of a living term, but for those into another aspect."""
    path = shared("task_go/goslim_generic.obo")
    stanzas = [s for s in path.read_text().split("\n\n") if s.startswith("[Term]") and "is_obsolete: true" not in s]
    lines = {s.split("\nid: ")[1].split("\n")[0]: s.split("\n") for s in stanzas}
    aspect = {t: next(x for x in s if x.startswith("namespace: ")) for t, s in lines.items()}
    expected = {
        t: {x.split()[1] for x in s if x.startswith("is_a: ")}
        | {x.split()[2] for x in s if x.startswith("relationship: part_of ") and aspect[x.split()[2]] == aspect[t]}
        for t, s in lines.items()
    }
    graph = read_graph(path)
    assert {term: set(above) for term, above in graph.parents.items()} == expected
    assert sum(map(len, expected.values())) > 5
