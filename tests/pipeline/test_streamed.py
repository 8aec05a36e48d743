"""Standard input and pipes are sources like files: a stable name, and the same bytes again are already present."""

from __future__ import annotations

import io
import os
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import lance
import pytest

from protea_ray.cluster.progress import LineReporter
from protea_ray.config.run import run_config
from protea_ray.pipeline.accounting import Summary
from protea_ray.pipeline.embed import embed
from protea_ray.sequences import spool
from tests import stores
from tests.toy import ToySpec

pytestmark = pytest.mark.usefixtures("cluster")

FASTA = b">s1 streamed\nMKWVTFISLLFLFSSAYS\n>s2\nGSHMLEDPVAGKWTT\n"


def run(given: str, store: Path, model: Path) -> Summary:
    return embed([given], str(store), run_config({"model": str(model)}), LineReporter(), ToySpec)


def test_the_same_bytes_by_standard_input_and_a_pipe(
    tmp_path: Path, esm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pipe = tmp_path / "store", tmp_path / "pipe"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(FASTA), isatty=lambda: False))
    spool._standard_input.cache_clear()
    assert run("-", store, esm2).spaces[0].stored == 2
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(FASTA,))
    writer.start()
    again = run(str(pipe), store, esm2)
    writer.join()

    assert (again.records, again.spaces[0].already_present) == (2, 2)
    assert sorted(stores.sequences(store).values()) == ["GSHMLEDPVAGKWTT", "MKWVTFISLLFLFSSAYS"]
    (source,) = lance.dataset(str(store / "sources.lance")).to_table()["source"].to_pylist()
    assert source.startswith("stdin#")
