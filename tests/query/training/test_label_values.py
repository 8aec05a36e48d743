"""Labels from what people have in memory, chosen by split, as classes and for each residue."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from protea_ray.errors import ConfigError, InputError
from protea_ray.query.reader import Store
from protea_ray.query.training.examples import cropped
from protea_ray.query.training.labels import read_labels
from tests.query.training import helpers
from tests.store import build

FAMILIES = ("zinc", "kinase", "globin")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return helpers.make(tmp_path_factory.mktemp("values"), 30, with_residues=True)


def family(id: str) -> str:
    return FAMILIES[helpers.number(id) % 3]


def split(id: str) -> str:
    return "train" if helpers.number(id) < 20 else "test"


def table(numbers: range = range(30)) -> pa.Table:
    ids = [f"P{n:05d}" for n in numbers]
    return pa.table({"id": ids, "family": list(map(family, ids)), "split": list(map(split, ids))})


SOURCES = {
    "columns": lambda: {"id": ["P00001", "P00002"], "y": [1.5, 2.5]},
    "pandas": lambda: pd.DataFrame({"id": ["P00001", "P00002"], "y": [1.5, 2.5]}),
    "pandas index": lambda: pd.DataFrame({"y": [1.5, 2.5]}, index=["P00001", "P00002"]),
    "polars": lambda: pl.DataFrame({"id": ["P00001", "P00002"], "y": [1.5, 2.5]}),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_labels_come_in_any_table(store: Store, kind: str) -> None:
    (batch,) = store.torch(labels=SOURCES[kind](), batch_size=9, dtype="float32")
    assert dict(zip(batch["id"], batch["y"].tolist(), strict=True)) == {"P00001": 1.5, "P00002": 2.5}
    assert batch["y"].dtype == torch.float32


def test_a_dictionary_by_id_is_one_label(store: Store) -> None:
    (batch,) = store.torch(labels={"P00003": 7, "P00004": 8}, batch_size=9)
    assert dict(zip(batch["id"], batch["label"].tolist(), strict=True)) == {"P00003": 7, "P00004": 8}


@pytest.mark.parametrize("wrong", [7, ["P00001"], {"id": ["a"], "y": [1, 2]}])
def test_what_is_no_table_is_said(wrong: object) -> None:
    with pytest.raises(ConfigError, match="labels"):
        read_labels(wrong)  # type: ignore[arg-type]


def test_classes_have_the_same_numbers_in_every_split(store: Store) -> None:
    few = table().filter(pa.array([n != 25 for n in range(30)]))
    sets = {name: store.torch(labels=few, labels_where={"split": name}, classes=["family"], batch_size=99)
            for name in ("train", "test")}  # fmt: skip
    for name, data in sets.items():
        (batch,) = data
        assert data.classes == {"family": ("globin", "kinase", "zinc")}
        assert [data.classes["family"][code] for code in batch["family"]] == [family(id) for id in batch["id"]]
        assert batch["family"].dtype == torch.int64
        assert {split(id) for id in batch["id"]} == {name}
    report = sets["test"].report
    assert report is not None
    assert (report.ids, report.used, report.not_chosen, report.unlabelled) == (29, 9, 20, 21)
    assert "20 not chosen by labels_where" in str(report)


def test_a_split_of_one_class_keeps_its_number(store: Store) -> None:
    labels = {"id": ["P00001", "P00002"], "y": ["b", "a"], "split": ["train", "test"]}
    (batch,) = store.torch(labels=labels, labels_where={"split": ["train"]}, classes=["y"], batch_size=9)
    assert batch["y"].tolist() == [1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels_where": {"splt": "train"}}, "has no column splt; it has id, family, split"),
        ({"labels_where": {"split": "valid"}}, "no row has {'split': 'valid'}; split is 'train', 'test'"),
        ({"labels_where": {"split": 3.5}}, "no row has"),
        ({"classes": ["fam"]}, "has no column fam"),
        ({"residue_labels": ["family"]}, "come with the column 'residues'"),
        ({"dtype": "int8"}, "dtype 'int8' is not one of float32"),
        ({"columns": ["nope"]}, "unknown columns nope; known: .*, residues"),
    ],
)
def test_what_cannot_be_chosen_is_said(store: Store, options: dict[str, object], said: str) -> None:
    with pytest.raises((ConfigError, InputError)) as caught:
        store.torch(labels=table(), batch_size=9, **options)  # type: ignore[arg-type]
    assert re.search(said.replace("{", r"\{").replace("}", r"\}"), " ".join(str(caught.value).split()))


def states(number: int) -> str:
    """A secondary structure of protein `number`."""
    return "".join("HEC"[(number + at) % 3] for at in range(len(build.sequence(number))))


def test_labels_of_residues_are_padded_with_the_matrices(store: Store) -> None:
    labels = pa.table({"id": [f"P{n:05d}" for n in range(30)], "ss": [states(n) for n in range(30)]})
    data = store.torch(
        columns=["id", "residues"], labels=labels, residue_labels=["ss"], token_budget=200, dtype=torch.float32
    )
    seen = 0
    for batch in data:
        assert batch["ss"].shape == batch["mask"].shape == batch["residues"].shape[:2]
        assert batch["residues"].dtype == torch.float32
        for row, id in enumerate(batch["id"]):
            codes = batch["ss"][row][batch["mask"][row]].tolist()
            assert "".join(data.classes["ss"][code] for code in codes) == states(helpers.number(id))
            assert (batch["ss"][row][~batch["mask"][row]] == -100).all()
            seen += 1
    assert seen == 30


def test_numbers_of_residues_and_a_length_that_does_not_fit(store: Store) -> None:
    lengths = [len(build.sequence(n)) for n in range(4)]
    values = [np.linspace(0, 1, n).tolist() for n in lengths]
    labels = pa.table({"id": [f"P{n:05d}" for n in range(4)], "b": values})
    (batch,) = store.torch(columns=["id", "residues"], labels=labels, residue_labels=["b"], batch_size=9)
    assert batch["b"].isnan().equal(~batch["mask"])
    assert batch["b"][0][: lengths[helpers.number(batch["id"][0])]][-1] == 1
    short = labels.set_column(1, "b", [[*values[:3], values[3][:-1]]])
    with pytest.raises(InputError, match=f"P00003 has {lengths[3] - 1} for {lengths[3]} residues"):
        store.torch(columns=["residues"], labels=short, residue_labels=["b"], batch_size=9)


def test_labels_of_residues_are_cut_to_the_chunks() -> None:
    lists = pa.chunked_array([[list(range(9))], [list(range(9)), [20, 21]]], pa.large_list(pa.int64()))
    starts, ends = pa.chunked_array([[0, 5, 0]]), pa.chunked_array([[6, 9, 2]])
    assert cropped(lists, starts, ends).to_pylist() == [[0, 1, 2, 3, 4, 5], [5, 6, 7, 8], [20, 21]]


def test_a_data_set_says_what_it_is(store: Store) -> None:
    data = store.torch(labels=table(), classes=["family"], batch_size=8, shuffle=True, seed=5, dtype="float32")
    said = repr(data)
    for words in ("30 examples in 4 batches of 8 rows", "shuffled by seed 5, epoch 0", "batch: id, mean, family, split",
                  '(float32)', f'"space": "{helpers.SPACE}"', "classes of family: 3", "30 of 30 labelled"):  # fmt: skip
        assert words in said


def test_labels_that_were_read_are_not_read_again(store: Store, tmp_path: Path) -> None:
    known = read_labels(table(), where={"split": "test"}, classes=["family"])
    assert len(store.torch(labels=known, batch_size=100).examples) == 10
    with pytest.raises(ConfigError, match="read already"):
        store.torch(labels=known, classes=["family"], batch_size=100)
    with pytest.raises(ConfigError, match="need labels"):
        store.torch(classes=["family"], batch_size=100)
