"""metrics.jsonl: one line a step and one a validation, and TensorBoard's event files where that package is installed.

A run that was killed has written lines for steps which its checkpoint has not; a resume removes them, so that every
step is there once.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"
FINAL = "final"
FLUSH_SECONDS = 10.0


class MetricsFile:
    """Appends to metrics.jsonl of a run that goes on from `step`. Every line has `kind`: step, validation,
    final (the best checkpoint on the whole validation side).

    Fields of a step: step, epoch, tokens (so far), loss (nats), targets, learning_rate, gradient_norm,
    tokens_per_second, seconds (since 1970). Of a validation: step, tokens, loss, loss_20, standard_error, perplexity,
    by_length.
    """

    def __init__(self, out: Path, step: int) -> None:
        self._path = out / METRICS
        _keep_until(self._path, step)
        self._file = self._path.open("a", encoding="utf-8")
        self._flushed = time.monotonic()
        self._board = _tensorboard(out)

    def write(self, kind: str, values: Mapping[str, Any]) -> None:
        """Append one line; on the disk within ten seconds, validations at once."""
        self._file.write(json.dumps({"kind": kind, **values, "seconds": round(time.time(), 2)}) + "\n")
        if kind != "step" or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{kind}/{name}", value, values.get("step", 0))

    def flush(self) -> None:
        """Hand every line so far to the system."""
        self._flushed = time.monotonic()
        self._file.flush()

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(out: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics.jsonl, oldest first; a last line that a kill cut short is left out."""
    if not (out / METRICS).exists():
        return
    with (out / METRICS).open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _keep_until(path: Path, step: int) -> None:
    """Remove the lines of later steps than `step`."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path.parent) if line["kind"] != FINAL and line.get("step", 0) <= step]
    fresh = path.with_name(f".{path.name}")
    fresh.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    fresh.replace(path)


def _tensorboard(out: Path) -> Any:
    """A writer of event files under `out`, None without the package."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(out / "tensorboard")
