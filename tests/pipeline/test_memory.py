"""The driver never holds the data set: its peak memory does not follow the number of proteins."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from protea_ray.testing import random_checkpoint as checkpoints
from tests import commands, stores
from tests.shared_data import shared

MEGABYTE = 1 << 10  # VmHWM counts kilobytes


def peak_of(process: subprocess.Popen[bytes]) -> int:
    """Largest resident set of the driver process itself, in MB, until it ends."""
    peak = 0
    while process.poll() is None:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                peak = int(line.split()[1]) // MEGABYTE
        time.sleep(0.1)
    return peak


@pytest.mark.slow
def test_the_driver_stays_below_one_and_a_half_gigabytes_whatever_the_input(tmp_path: Path) -> None:
    small, large = shared("quickstart/quickstart_1500.fasta"), shared("medium/uniprot_tbrucei_anabaena.fasta.gz")
    table = shared("medium/uniref90_10k.parquet")
    model = checkpoints.build("esm2", tmp_path / "model", layers=1, hidden=8, heads=2)
    peaks, log = [], tmp_path / "log"
    for name, inputs in (("small", [small]), ("large", [large, table])):
        process = commands.start("embed", *inputs, tmp_path / name, "--model", model, "--on-long", "truncate", log=log)
        peaks.append(peak_of(process))
        assert process.returncode == 0, log.read_text()

    records = stores.count(tmp_path / "large" / "proteins.lance")
    print(f"driver peak: {peaks[0]} MB for 1,500 records, {peaks[1]} MB for {records:,}")
    assert records == 14_658 + 10_000
    assert peaks[1] < 1500
    assert peaks[1] < peaks[0] * 1.25  # 16 times the proteins
    assert len(stores.vectors(tmp_path / "large")) == len(stores.sequences(tmp_path / "large"))
