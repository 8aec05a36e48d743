"""What the acceptance ran on, and the share of the GPU that was in use while something ran."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from protea_ray.cluster.cores import usable_cores
from protea_ray.config.libraries import version_or_none

LIBRARIES = (
    "protea-ray",
    "torch",
    "transformers",
    "triton",
    "numpy",
    "pyarrow",
    "torchao",
    "bitsandbytes",
    "ray",
    "pylance",
)
SAMPLE_MS = 500


def machine(device: str) -> dict[str, Any]:
    """Card, driver, versions, cores and date."""
    import torch

    found: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "device": device}
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {
            "card": card.name, "memory GiB": round(card.total_memory / 2**30, 1),
            "capability": f"{card.major}.{card.minor}", "driver": _asked("driver_version"),
            "cuda": str(torch.version.cuda), "clock": _asked("clocks.max.sm"),
        }  # fmt: skip
    found |= {"cpu": f"{platform.machine()}, {usable_cores()} usable of {os.cpu_count()} cores"}
    found |= {"python": platform.python_version(), "system": platform.platform()}
    return found | {name: version_or_none(name) or "not installed" for name in LIBRARIES}


def _asked(field: str) -> str:
    """One field of the first card as nvidia-smi gives it, or why there is none."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({type(error).__name__})"
    return done.stdout.strip()


class Utilisation:
    """Per cent of the time in which some kernel ran on the first card, sampled twice a second inside a `with` block."""

    def __init__(self) -> None:
        self.samples: list[int] = []
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Utilisation:
        fields = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", f"--loop-ms={SAMPLE_MS}"]
        with suppress(OSError):  # no nvidia-smi: no samples
            self._process = subprocess.Popen(["nvidia-smi", *fields], stdout=subprocess.PIPE, text=True)
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
        return self

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip().isdigit():
                self.samples.append(int(line))

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._thread is not None:
            self._process.terminate()
            self._process.wait()
            self._thread.join(timeout=5)
