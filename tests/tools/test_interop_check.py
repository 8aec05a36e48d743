"""Other programs open what is exported, and a difference is noticed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protea_ray.query.reader import open_store
from tools import interop_check
from tools.interop.same_vectors import same_vectors
from tools.interop_check import PROGRAMS, Program, check, differences, embedded, export_all


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Every file, and what must be found in them."""
    folder = tmp_path_factory.mktemp("interop")
    return folder, export_all(open_store(embedded(folder)), folder)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_reads_what_the_store_holds(program: Program, request: pytest.FixtureRequest) -> None:
    if not program.installed.exists():
        pytest.skip(f"{program.packages[0]} is not in build/interop; `make interop` installs it")
    folder, expected = request.getfixturevalue("exported")
    assert expected["read"] == 300
    assert check(program, folder, expected)


def test_the_number_of_vectors_knows_ids_values_and_nothing_else() -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float16)
    number = same_vectors("abc", vectors)
    assert number == same_vectors("cab", vectors[[2, 0, 1]].astype(np.float32))
    assert number != same_vectors("abc", vectors[[1, 0, 2]])
    assert number != same_vectors("abe", vectors)
    changed = vectors.copy()
    changed[1, 2] = np.nextafter(changed[1, 2], np.float16(9))
    assert number != same_vectors("abc", changed)


EXPECTED = {"read": 3, "vectors": "x", "places": 3, "families": 2}


def test_every_difference_is_named() -> None:
    assert differences(EXPECTED, EXPECTED) == []
    assert differences({**EXPECTED, "read": 2, "vectors": "y"}, EXPECTED) == [
        "read is 2, 3 expected",
        "vectors is y, x expected",
    ]


@pytest.mark.parametrize(
    ("script", "equal", "said"),
    [
        ('print(\'{"read": 3, "vectors": "x", "places": 3, "families": 2, "did": "it"}\')', True, "equal"),
        ('print(\'{"read": 2, "vectors": "x", "places": 3, "families": 2, "did": "it"}\')', False, "read is 2"),
        ("raise SystemExit('no such file')", False, "FAILED\n  no such file"),
    ],
)
def test_a_program_that_fails_or_reads_otherwise_fails_the_check(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    equal: bool,
    said: str,
) -> None:
    (tmp_path / "script.py").write_text(script)
    monkeypatch.setattr(Program, "python", Path(sys.executable))
    program = replace(PROGRAMS[0], script=str(tmp_path / "script.py"))
    assert check(program, tmp_path, EXPECTED) is equal
    assert said in capsys.readouterr().out


def test_biotrainers_headers_keep_the_letters_as_they_were_exported(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">P1 family=F1\nMKT\n>P2 family=F2\nMK\nTA\n")
    interop_check.label(tmp_path / "a.fasta", tmp_path / "b.fasta", {"P1": "F1", "P2": "F2"})
    assert (tmp_path / "b.fasta").read_text() == (">P1 TARGET=F1 SET=train\nMKT\n>P2 TARGET=F2 SET=train\nMK\nTA\n")
