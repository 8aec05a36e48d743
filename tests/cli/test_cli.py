"""The command line as a stranger meets it: help, mistakes, plans, the accounting, queries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.sequences.synth import write_fasta
from tests import commands, stores

DIRTY = ">good\nMKTAYIAKQR\n>gap\nMK-TA\n>again\nmktayiakqr*\n>empty\n\n>other\nMKV\n"


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "p.fasta"
    path.write_text(DIRTY)
    return path


@pytest.fixture(scope="module")
def store(cluster: None, fasta: Path, esm2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    path = tmp_path_factory.mktemp("store") / "s"
    return path, commands.call_json("embed", fasta, path, "--model", esm2, "--max-rejects", 2, "--actors", 1)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['protea-ray', '--help']\n"
        "import contextlib, protea_ray.cli.main as m\n"
        "with contextlib.suppress(SystemExit): m.run()\n"
        "heavy = {'ray', 'torch', 'transformers', 'lance', 'pyarrow', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "embed" in done.stdout


def test_every_recipe_field_is_a_flag() -> None:
    text = commands.run("embed", "--help").stdout

    for field in EmbeddingConfig.model_fields:
        assert f"--{field.replace('_', '-')}" in text


def test_all_mistakes_come_in_one_message_with_exit_code_2(fasta: Path, tmp_path: Path) -> None:
    done = commands.run(
        "embed", fasta, tmp_path / "s", "--layers", "0,-1", "--pooling", "meen", "--set", "run.actors=0", "--set", "x=1"
    )

    assert done.returncode == 2
    for field in ("layers", "pooling", "run.actors", "unknown field 'x'"):
        assert field in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_inputs_are_all_named_with_exit_code_1(tmp_path: Path) -> None:
    done = commands.run("embed", tmp_path / "a.fasta", tmp_path / "b.fasta", tmp_path / "s")

    assert done.returncode == 1
    assert "a.fasta" in done.stderr
    assert "b.fasta" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_accounting_of_a_dirty_file(store: tuple[Path, dict]) -> None:
    path, summary = store

    assert {k: summary[k] for k in ("in", "stored", "duplicate", "rejected", "already_present", "residues")} == {
        "in": 5, "stored": 2, "duplicate": 1, "rejected": 2, "already_present": 0, "residues": 13,
    }  # fmt: skip
    assert summary["store"] == str(path)
    assert len(stores.vectors(path)) == 2


def test_too_many_rejects_are_exit_code_3(store: tuple[Path, dict], fasta: Path, esm2: Path) -> None:
    done = commands.call("embed", fasta, store[0], "--model", esm2, "--max-rejects", 1, "--json")

    assert done.returncode == 3
    assert json.loads(done.stdout.splitlines()[-1])["rejected"] == 2


def test_a_dry_run_counts_and_writes_nothing(cluster: None, fasta: Path, esm2: Path, tmp_path: Path) -> None:
    write_fasta(tmp_path / "p.fasta", 40, seed=4)
    planned = commands.call_json("embed", tmp_path / "p.fasta", fasta, tmp_path / "s", "--model", esm2, "--dry-run")
    space = planned["spaces"][0]

    assert planned["in"] == 45
    assert space["proteins"] + space["duplicate"] + space["rejected"] == 45
    assert space["rejected"] == 2
    assert space["windows"] >= space["proteins"]
    assert planned["seconds"] > 0
    assert space["bytes"] > 0
    assert not (tmp_path / "s").exists()


def test_status_and_queries(store: tuple[Path, dict], tmp_path: Path) -> None:
    path, summary = store
    status = json.loads(commands.call("status", path, "--json").stdout)
    by_id = json.loads(commands.call("query", path, "--id", "other", "--json").stdout)
    by_sql = json.loads(commands.call("query", path, "--where", "length > 5", "--json").stdout)
    near = json.loads(commands.call("query", path, "--nearest", "good", "-k", 1, "--json").stdout)
    commands.call("query", path, "--out", tmp_path / "all.parquet")

    assert status["spaces"][0]["name"] == summary["space"]
    assert status["aliases"]["current"]["space"] == summary["space"]
    assert status["rejects"] == {"empty_sequence": 1, "illegal_letter": 1}
    assert by_id["proteins"][0]["length"] == 3
    assert {p["id"] for p in by_sql["proteins"]} == {"good", "again"}
    assert [p["id"] for p in near["proteins"]] == ["other"]
    assert pq.read_table(tmp_path / "all.parquet")["mean"].type.list_size == 32


def test_an_id_is_data_and_never_sql(store: tuple[Path, dict]) -> None:
    found = json.loads(commands.call("query", store[0], "--id", "' OR 1=1 --", "--json").stdout)

    assert found["rows"] == 0


def test_a_run_as_a_program(fasta: Path, esm2: Path, tmp_path: Path) -> None:
    """The one test of `make test` whose command has a process and a cluster of its own."""
    done = commands.run("embed", fasta, tmp_path / "s", "--model", esm2, "--actors", 1, "--max-rejects", 1, "--json")

    assert done.returncode == 3
    assert json.loads(done.stdout.splitlines()[-1])["stored"] == 2
    assert "more than --max-rejects 1" in done.stderr
    assert len(stores.vectors(tmp_path / "s")) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("typo.fasta", "s"), 1, "typo.fasta: no such file"),
        (("{fasta}",), 2, "at least one INPUT and then the STORE"),
        (("{fasta}", "{fasta}"), 2, "is a file, but a store is a directory"),
        (("typo.fasta", "other typo.fasta", "{fasta}"), 2, "other typo.fasta: no such file"),
    ],
)
def test_a_mistake_costs_no_import_no_cluster_and_no_folder(
    arguments: tuple[str, ...], code: int, words: str, fasta: Path, tmp_path: Path
) -> None:
    """In a process of its own: what a mistake costs is what was imported until it was found."""
    argv = ["protea-ray", "embed", *(a.format(fasta=fasta) for a in arguments)]
    program = (
        "import sys, protea_ray.cli.main as m\n"
        f"sys.argv = {argv!r}\n"
        "try: m.run()\n"
        "finally: print(sorted({'ray', 'torch', 'lance', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert not list(tmp_path.iterdir())
