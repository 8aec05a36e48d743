"""The named tasks on the real files: numbers counted with shell tools, and labels read anew here."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate.task import ALWAYS_TRAINS, CLASSIFICATION, MULTILABEL, RESIDUE, UNRESOLVED
from protea_ray.evaluate.tasks import known_tasks, read_labelled, read_task
from protea_ray.query.view import View
from protea_ray.sequences.records import PROTEINS_SCHEMA, key_of
from protea_ray.store.location import open_location
from protea_ray.store.spaces import ensure_space
from tests.evaluate.tasks.made import reopened
from tests.shared_data import shared
from tests.store import build

DIGESTS = {  # results in stores are found by these: a change of one of them computes everything anew
    "localization": "d0448b15b5323a82",
    "go-mf": "aa851fd8cfbbfaa9",
    "go-cc": "a4fbef6206f76a13",
    "go-bp": "5f3fec9e3cf678ed",
}


def text_of(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


def letters(*paths: Path) -> dict[str, str]:
    """Sequences by id."""
    entries = [entry.split("\n", 1) for path in paths for entry in text_of(path).split(">")[1:]]
    return {header.split()[0]: lines.replace("\n", "") for header, lines in entries}


def stored(root: Path, sequences: dict[str, str]) -> View:
    """A store with these proteins and an empty space."""
    location = open_location(root / "s")
    rows = [
        {"id": id, "key": key_of(s), "length": len(s), "sequence": s, "description": "", "source": "a", "line": n}
        for n, (id, s) in enumerate(sequences.items(), 1)
    ]
    build.ingest(location, pa.Table.from_pylist(rows, PROTEINS_SCHEMA), "a")
    ensure_space(location, build.info(), build.schema())
    return reopened(location)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(text_of(path).splitlines(), delimiter="\t"))


@pytest.fixture(scope="module")
def deeploc(tmp_path_factory: pytest.TempPathFactory) -> View:
    return stored(tmp_path_factory.mktemp("deeploc"), letters(*sorted(shared("task_localization").glob("*.fasta"))))


def test_localization(deeploc: View) -> None:
    task = read_task("localization", shared("task_localization"), deeploc)
    rows = {r["id"]: r for r in rows_of(shared("task_localization/labels.tsv")) if r["label"] != "Cytoplasm-Nucleus"}
    assert (task.name, task.kind, len(task), len(task.tested)) == ("localization", CLASSIFICATION, 4423, 2768)
    assert [task.names[n] for n in task.targets] == [rows[id]["label"] for id in task.ids]
    assert [n == 0 for n in task.fold] == [rows[id]["split"] == "test" for id in task.ids]
    assert task.digest == DIGESTS["localization"]
    assert "23 proteins with the double label Cytoplasm-Nucleus are left out" in task.notes
    assert not task.notes[-1].startswith("The split is made")
    below = read_labelled("localization", shared("task_localization").parent)
    assert len(below.rows) == 4423


@pytest.mark.parametrize(("aspect", "proteins", "long"), [("mf", 1858, 273), ("cc", 2230, 308), ("bp", 1989, 293)])
def test_gene_ontology(aspect: str, proteins: int, long: int, deeploc: View) -> None:
    """Numbers are those of the data set's README; ancestors of some proteins are walked to here."""
    folder = shared("task_go_long")
    task = read_task(f"go-{aspect}", folder.parent, deeploc)
    assert (task.kind, len(task), task.split) == (MULTILABEL, proteins, "5 folds of relatives")
    assert sum(task.subsets()["up_to_1022"]) == proteins - long
    assert np.ptp(np.bincount(task.fold)) <= 1
    assert not any(len(set(task.fold[task.group == g])) > 1 for g in np.flatnonzero(np.bincount(task.group) > 1))
    above = {r["go"]: r["parents"].split(";") for r in rows_of(folder / f"{aspect}_ontology.tsv.gz")}
    leaves = {r["accession"]: r["GO"].split(";") for r in rows_of(folder / f"{aspect}_go.tsv")}

    def walk(terms: list[str]) -> set[str]:
        return {a for term in terms if above[term] != [""] for a in {term} | walk(above[term])}

    for row in range(0, len(task), 97):
        assert {task.names[t] for t in np.flatnonzero(task.targets[row])} == walk(leaves[task.ids[row]])
    assert task.targets.any(axis=0).all()
    roots = {term for term, parents in task.parents.items() if not parents}
    assert len(roots) == 1
    assert set(task.parents) == {*task.names, *roots}
    assert task.digest == DIGESTS[task.name]


def test_the_older_set_of_terms_is_read_where_data_points_to_it() -> None:
    labelled = read_labelled("go-mf", shared("task_go"))
    assert len(labelled.rows) == 1916
    assert any("were not checked" in note for note in labelled.notes)
    assert labelled.fasta == (str(shared("task_go/tale_go.fasta")),)


def test_a_store_without_the_proteins_is_told_how_to_get_them(tmp_path: Path) -> None:
    view = stored(tmp_path, {"x": "MKVLAA"})
    fasta = shared("task_localization/deeploc_test_set.fasta")
    with pytest.raises(InputError, match="none of 1,989 proteins is in the store") as caught:
        read_task("go-bp", fasta.parents[1], view)
    assert f"protea-ray embed {fasta.parent}/deeploc_our_val_set.fasta {fasta} {view.location.uri}" in str(caught.value)


def test_secondary_structure(tmp_path: Path) -> None:
    """All 364 tested chains, 200 that train and 20 for validation, with the states and masks of the files."""
    folder = shared("task_secondary_structure")
    sequences, states, mask = (letters(folder / f"{name}.fasta.gz") for name in ("sequences", "sampled", "mask"))
    headers = dict(line[1:].split(" ", 1) for line in text_of(folder / "sampled.fasta.gz").splitlines() if ">" in line)
    tested = [id for id in headers if "SET=test" in headers[id]]
    others = [id for id in headers if "SET=train VALIDATION=False" in headers[id]]
    kept = [id for id in headers if "VALIDATION=True" in headers[id]]
    view = stored(tmp_path, {id: sequences[id] for id in [*tested, *others[:200], *kept[:20]]})
    task = read_task("secondary-structure", folder.parent, view)
    assert (task.kind, task.names, len(task), len(task.tested)) == (RESIDUE, ("C", "E", "H"), 584, 364)
    found = "".join("CEH"[state] if state != UNRESOLVED else "-" for state in task.targets)
    pairs = [pair for id in task.ids for pair in zip(states[id], mask[id], strict=True)]
    assert found == "".join(state if resolved == "1" else "-" for state, resolved in pairs)
    assert task.validation is not None
    assert [("SET=train" in headers[id], "VALIDATION=True" in headers[id]) for id in task.ids] == list(
        zip((task.fold == ALWAYS_TRAINS).tolist(), task.validation.tolist(), strict=True)
    )
    (note,) = [note for note in task.notes if "not in the store" in note]
    assert note.startswith("10,572 of 11,156 labelled proteins")
    assert note.count("--pooling mean,none") == 1


def test_every_named_task_has_a_sentence() -> None:
    assert list(known_tasks()) == ["localization", "go-mf", "go-cc", "go-bp", "secondary-structure"]
    assert all(known_tasks().values())


def test_a_misspelt_file_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "families.csv").write_text("id,target\n")
    for wanted in ("familes.csv", "familes.csv:classification"):
        with pytest.raises(ConfigError, match=r"no file and no named task .*did you mean .*families\.csv\?"):
            read_labelled(str(tmp_path / wanted), None)
