"""Row 14: secrets of the environment through a whole run: they may be used, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import lance
import pytest

from protea_ray.sequences.parts import Source
from tests.chaos import runs
from tests.chaos.rows import Ledger
from tests.chaos.runs import Bench, Head

pytestmark = [pytest.mark.chaos, pytest.mark.row(14)]

CANARIES = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARYCANA",
    "AWS_SECRET_ACCESS_KEY": "canary+aws/secret+0123456789",
    "AWS_SESSION_TOKEN": "canary-aws-session-0123456789",
    "HF_TOKEN": "hf_canaryCanaryCanaryCanary",
    "GOOGLE_APPLICATION_CREDENTIALS": "/canary/gcp-secret.json",
}
JOBS = """
import json, sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(json.dumps(ray._private.state.state.job_table(), default=str))
"""


def test_canary_secrets_stay_where_they_are(bench: Bench, tmp_path: Path, ledger: Ledger) -> None:
    store = tmp_path / "store"
    with ledger.row(14, "5 secrets in the environment of driver and workers") as row, Head(bench, **CANARIES) as head:
        done = head.run(*bench.arguments(store))
        assert done["code"] == 0, done
        session = next(Path("/tmp/ray").glob(f"session_*_{head.pid}"))
        pids = [head.pid, *runs.workers_of(head.process, "ray::")]
        assert any(CANARIES["HF_TOKEN"] in of_process(pid, "environ") for pid in pids[1:])  # workers do have them
        jobs = subprocess.run(
            [sys.executable, "-c", JOBS, head.address], capture_output=True, text=True, check=True,
            env=bench.environment(toy=True),
        ).stdout  # fmt: skip
        assert '"JobID"' in jobs
        places = {
            "the report": json.dumps(done),
            "Ray's jobs": jobs,
            "command lines": "".join(of_process(pid, "cmdline") for pid in pids),
            "standard error": (bench.folder / "head.log").read_text(errors="replace"),
            **{f"file {path}": text for path, text in files(store)},
            **{f"log {path}": text for path, text in files(session)},
            **{f"table {path.name}": rows(path) for path in sorted(store.glob("*.lance"))},
        }
        found = {(name, where) for where, text in places.items() for name, value in CANARIES.items() if value in text}
        assert not found
        row.times, row.expected, row.found = len(CANARIES), 0, len(found)
        row.notes.append(f"{len(places)} places searched")


def of_process(pid: int, what: str) -> str:
    """Its environment or command line; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text(errors="replace")
    except OSError:
        return ""


def files(folder: Path) -> list[tuple[Path, str]]:
    found = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return [(p.relative_to(folder), p.read_bytes().decode("latin-1")) for p in found]


def rows(table: Path) -> str:
    """Decompressed, and with the configuration and metadata that are in no column."""
    opened = lance.dataset(str(table))
    facts: list[Any] = [opened.to_table().to_pylist(), opened.config(), opened.schema.metadata, opened.versions()]
    return str(facts)


@pytest.mark.chaos_short
@pytest.mark.parametrize("uri", ["s3://key:canary@bucket/a.fasta", "https://me:canary@host/a.fasta?x=1"])
def test_an_input_with_credentials_in_its_name_is_refused_without_repeating_them(uri: str, ledger: Ledger) -> None:
    """It would end up in `source` of every row."""
    from protea_ray.errors import InputError
    from protea_ray.sequences.inputs import expand

    with ledger.row(14, "inputs whose URL holds a secret") as row:
        with pytest.raises(InputError, match="credentials") as caught:
            expand([uri])
        assert not re.search("canary|me:", str(caught.value))
        row.times = 1


@pytest.mark.chaos_short
@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("https://host/a.fasta?X-Amz-Signature=canary", "https://host/a.fasta"),
        ("zip://a.fasta::https://host/a.zip?sig=canary#part", "zip://a.fasta::https://host/a.zip"),
        ("/data/what?.fasta#1", "/data/what?.fasta#1"),
        ("s3://bucket/what?.fasta", "s3://bucket/what?.fasta"),
    ],
)
def test_a_signed_link_is_stored_without_its_signature(uri: str, name: str) -> None:
    assert Source(uri, "fasta", "none", 0).name == name
