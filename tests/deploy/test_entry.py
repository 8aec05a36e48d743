"""The command of the manifests, run: through `ray job submit`, as KubeRay does it, on a cluster of this machine."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from protea_ray.sequences.synth import write_fasta
from tests.deploy.files import DEPLOY, ROOT, embedded, local, read
from tests.ray_head import RAY, ray_head, submit_when_ready

JOB = "kuberay/rayjob.yaml"


@pytest.mark.slow
def test_the_command_of_the_rayjob_is_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proteins, store = tmp_path / "p.fasta", tmp_path / "store"
    write_fasta(proteins, 30, seed=2, max_length=60)
    command = local(read(JOB)["spec"]["entrypoint"], proteins, store)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)

    with ray_head(tmp_path) as head:
        submit = [RAY, "job", "submit", "--submission-id", "protea-ray-embed", "--", *command, "--json"]
        done = submit_when_ready(submit, head, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"in": 30' in done.stdout
    assert embedded(store) == 30


def test_pages_and_scripts_name_the_same_program() -> None:
    command = shlex.split(read(JOB)["spec"]["entrypoint"])
    assert command[:3] == ["python", "-m", "jobs.embed"]

    files = [*DEPLOY.rglob("*.*"), ROOT / "docs/deploy.md", ROOT / "docs/cluster.md"]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if "jobs.embed" in line]
    assert len(lines) > 4
    assert all("python -m jobs.embed" in line for line in lines)
