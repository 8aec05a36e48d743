"""One part read twice counts once; sources are known by their bytes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import lance.fragment
import pytest

from protea_ray.pipeline.ingest import ingest_part
from protea_ray.sequences.inputs import Columns, expand, scan
from protea_ray.store import commit, retries


def test_a_write_that_fails_once_counts_its_records_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fasta = tmp_path / "p.fasta"
    fasta.write_text(">a\nMKT\n>bad\nM-T\n>b\nMKV\n")
    (source,) = expand([str(fasta)])
    (part,) = scan(source, Columns(), 1 << 20).parts
    calls, write = itertools.count(), commit.lance_write_fragments

    def fails_once(rows, *arguments, **options):
        if next(calls) == 0:
            list(rows)
            raise OSError("503 slow down")
        return write(rows, *arguments, **options)

    monkeypatch.setattr(commit, "lance_write_fragments", fails_once)
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0))
    proteins, rejects = str(tmp_path / "proteins.lance"), str(tmp_path / "rejects.lance")
    result = ingest_part(part, Columns(), "label", "run", proteins, rejects, None)

    assert (result["records"], result["rejects"], result["residues"]) == (3, 1, 6)
    rows = [lance.fragment.FragmentMetadata.from_json(f).physical_rows for f in result["rejected"]]
    assert rows == [1]
    assert sum(json.loads(f)["physical_rows"] for f in result["proteins"]) == 2
