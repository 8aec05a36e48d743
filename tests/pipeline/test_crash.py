"""Kill the driver, interrupt it, then run the same command: every key once, as in an undisturbed run."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import lance
import numpy as np
import pytest

from protea_ray.sequences.synth import write_fasta
from tests import commands, stores
from tests.plain import PlainEsm

PROTEINS, FEW = 600, 300
UNITS = ("--set", "run.unit_seconds=0.05", "--set", "run.window_proteins=128", "--set", "run.commit_units=3")


@pytest.fixture(scope="module")
def proteins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "proteins.fasta"
    write_fasta(path, PROTEINS, seed=11)
    return path


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "few.fasta"
    write_fasta(path, FEW, seed=12, max_length=1000)
    return path


def arguments(proteins: Path, store: Path, model: Path) -> list[object]:
    return ["embed", proteins, store, "--model", model, "--store-dtype", "float32", *UNITS]


def committed(store: Path) -> int:
    """Rows of the space right now; 0 while there is none."""
    try:
        return lance.dataset(str(stores.space(store))).count_rows()
    except (ValueError, OSError):
        return 0


def wait_for_rows(store: Path, rows: int, process: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while committed(store) < rows:
        assert time.monotonic() < end, f"{committed(store)} of {rows} rows after {seconds} s"
        time.sleep(0.05)


def test_sigkill_then_the_same_command(few: Path, esm2: Path, tmp_path: Path) -> None:
    """The kill -9 of `make test`: a driver with finished and unfinished units, vectors against transformers."""
    store = tmp_path / "killed"
    often = ("--set", "run.commit_units=1", "--actors", 1)
    process = commands.start(*arguments(few, store, esm2), *often, log=tmp_path / "log")
    wait_for_rows(store, 1, process)
    commands.kill_group(process)
    before = committed(store)

    finished = commands.run_json(*arguments(few, store, esm2), "--actors", 1)

    assert 0 < before < finished["stored"] + before <= FEW
    assert finished["stored"] + finished["already_present"] + finished["duplicate"] == FEW
    found, letters, plain = stores.vectors(store), stores.sequences(store), PlainEsm(esm2)
    assert found.keys() == letters.keys()
    for key, vector in list(found.items())[::5]:
        np.testing.assert_allclose(vector, plain.mean(letters[key]), atol=1e-5)


@pytest.mark.slow
def test_sigkill_at_three_moments_then_the_same_command(proteins: Path, esm2: Path, tmp_path: Path) -> None:
    undisturbed = commands.run_json(*arguments(proteins, tmp_path / "whole", esm2))
    store, moments = tmp_path / "killed", random.Random(1)
    for rows in (0, moments.randrange(1, 200), moments.randrange(200, 500)):
        process = commands.start(*arguments(proteins, store, esm2), log=tmp_path / "log")
        if rows:
            wait_for_rows(store, rows, process)
        else:
            time.sleep(6)  # while it starts and ingests
        commands.kill_group(process)

    finished = commands.run_json(*arguments(proteins, store, esm2))

    assert finished["in"] == PROTEINS
    assert 0 < finished["stored"] < undisturbed["stored"]  # the kills cost work in flight, not everything
    assert finished["stored"] + finished["already_present"] + finished["duplicate"] == PROTEINS
    expected, found = stores.vectors(tmp_path / "whole"), stores.vectors(store)
    assert found.keys() == expected.keys()
    for key, vector in expected.items():
        np.testing.assert_allclose(found[key], vector, atol=1e-5)


@pytest.mark.slow
def test_sigterm_commits_what_is_finished_and_says_so(proteins: Path, esm2: Path, tmp_path: Path) -> None:
    store, log = tmp_path / "s", tmp_path / "log"
    process = commands.start(*arguments(proteins, store, esm2), log=log)
    wait_for_rows(store, 1, process)

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 130
    assert "safe to rerun the same command" in log.read_text()
    again = commands.run_json(*arguments(proteins, store, esm2))
    assert again["already_present"] > 0
    assert len(stores.vectors(store)) == again["stored"] + again["already_present"] - duplicates(store)


def duplicates(store: Path) -> int:
    """Records of present keys beyond the first, which the second run counts as already present too."""
    rows = lance.dataset(str(store / "proteins.lance")).to_table(columns=["key"])["key"].to_pylist()
    return len(rows) - len(set(rows))
