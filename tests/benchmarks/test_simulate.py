"""A small simulated cluster end to end: the real pipeline, every protein once, and figures that can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import lance
import numpy as np
import pytest

from benchmarks.cluster.schedule import Schedule
from tests import stores

PROTEINS, GPUS = 2000, 8


@pytest.mark.slow
def test_a_simulated_cluster_stores_every_protein_once(tmp_path: Path) -> None:
    folder, out = tmp_path / "run", tmp_path / "figures.json"
    sizes = ["--proteins", str(PROTEINS), "--gpus", str(GPUS), "--seconds", "4"]
    command = [sys.executable, "-m", "benchmarks.cluster.simulate", *sizes, "--folder", str(folder), "--json", str(out)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)

    assert done.returncode == 0, done.stderr[-5000:]
    assert len(stores.vectors(folder / "store")) == len(stores.sequences(folder / "store")) == PROTEINS
    figures = json.loads(out.read_text())
    assert figures["stored"] == figures["proteins"] == PROTEINS
    measured = Schedule(**{name: np.array(values) for name, values in figures["schedule"].items()})
    assert len(measured.ready) == GPUS
    assert measured.cost.sum() == pytest.approx(4 * GPUS)
    assert len(measured.cost) == figures["units"] == len(units_of(folder / "store"))
    assert (measured.ended - measured.began >= measured.cost).all()
    assert 0 < figures["utilisation"] <= 1 <= figures["tail"]


def units_of(store: Path) -> set[str]:
    """Distinct units of the space."""
    return set(lance.dataset(str(stores.space(store))).to_table(columns=["unit"])["unit"].to_pylist())
