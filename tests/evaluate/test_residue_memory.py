"""Peak memory of a probe on residues: that of its blocks, however many chains are stored."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protea_ray.store.commit import write_fragments
from protea_ray.store.location import open_location
from protea_ray.store.rows import space_rows, space_schema
from protea_ray.store.spaces import ensure_space
from tests.evaluate import residue_memory
from tests.evaluate.residue_memory import RESIDUES, WIDTH
from tests.store import build

UNIT, UNITS = 100, 12  # 1,200 chains: 307 MB of matrices


def large_space(root: Path) -> str:
    """A space of matrices of random numbers, without records: a probe reads proteins by their keys."""
    location, name = open_location(root), build.info().name
    schema = space_schema({"mean": WIDTH}, "float16", WIDTH, {})
    ensure_space(location, build.info(), schema)
    for number in range(UNITS):
        rng = np.random.default_rng(number)
        rows = space_rows(
            schema,
            keys=[hashlib.sha256(bytes([number, i])).digest()[:16] for i in range(UNIT)],
            unit=f"u{number}",
            spans=[(0, RESIDUES)] * UNIT,
            n_residues=[RESIDUES] * UNIT,
            n_residues_seen=[RESIDUES] * UNIT,
            n_windows=[1] * UNIT,
            truncated=[False] * UNIT,
            vectors={"mean": rng.normal(size=(UNIT, WIDTH)).astype(np.float16)},
            residues=list(rng.standard_normal((UNIT, RESIDUES, WIDTH), np.float32).astype(np.float16)),
        )
        build.writer().append(location.table(name), write_fragments(location.table(name), rows, schema))
    return name


def peak(store: Path, space: str, chains: int) -> int:
    """MB of a fresh process."""
    command = [sys.executable, "-m", residue_memory.__name__, str(store), space, str(chains)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_four_times_the_chains_take_no_more_memory(tmp_path: Path) -> None:
    space = large_space(tmp_path / "s")
    quarter, whole = (peak(tmp_path / "s", space, chains) for chains in (UNIT * UNITS // 4, UNIT * UNITS))
    assert whole - quarter < 40, f"{quarter} MB for a quarter of 307 MB of matrices, {whole} MB for all of them"
