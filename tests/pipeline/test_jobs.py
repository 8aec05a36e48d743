"""`ray job submit` on a running cluster: a head with a dashboard, a submitted job, the same store."""

from __future__ import annotations

from pathlib import Path

import pytest

from protea_ray.sequences.synth import write_fasta
from tests import stores
from tests.ray_head import RAY, ray_head, submit_when_ready

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_submitted_job_embeds_into_the_store(esm2: Path, tmp_path: Path) -> None:
    write_fasta(tmp_path / "p.fasta", 60, seed=2)
    job = ["python", "-m", "jobs.embed", str(tmp_path / "p.fasta"), str(tmp_path / "store"), "--model", str(esm2)]
    submit = [RAY, "job", "submit", "--working-dir", ROOT, "--", *job, "--json"]

    with ray_head(tmp_path) as head:
        done = submit_when_ready(submit, head)

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"in": 60' in done.stdout
    assert len(stores.vectors(tmp_path / "store")) == len(stores.sequences(tmp_path / "store")) > 50
