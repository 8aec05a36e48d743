"""What a variant costs by length: time and peak memory of one protein, each length in a fresh process.

Lengths grow until one took longer than a limit. What was left out is a row too, with what the fitted exponents predict.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from protea_ray.comparison import cost_process
from protea_ray.comparison.compared_variant import ComparedVariant
from protea_ray.comparison.cost_process import CostAnswer, CostQuestion
from protea_ray.comparison.exponents import Exponent, fit_exponent
from protea_ray.errors import EvaluationError

LENGTHS = (512, 1024, 2048, 4096, 8192, 16_384, 32_768, 35_213)  # the last is the longest of the field's hardest file
MOST_SECONDS = 600.0  # of one length; at exponent 2 the next one takes four times as long
_STILL = 10  # times the limit after which a process is ended, with a minute for loading
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    # blocks of 64 KiB and more go back to the kernel at once, as those above 32 MiB always do: else a short protein is
    # measured with what an earlier layer left behind, a long one without
    "MALLOC_MMAP_THRESHOLD_": "65536",
}  # fmt: skip


@dataclass(frozen=True)
class CostRow:
    """One variant at one length in residues.

    `seconds` are CPU seconds of one thread, or those between two events on CUDA. `peak_bytes` is what the pass took
    above `base_bytes`, the process with its loaded model after a warm-up (on CUDA: what was allocated). Where `why`
    says that it was not measured, `predicted_*` are what the shorter lengths let expect, if there were enough of them.
    """

    variant: str
    length: int
    device: str
    seconds: float | None = None
    wall_seconds: float | None = None
    base_bytes: int | None = None
    peak_bytes: int | None = None
    predicted_seconds: float | None = None
    predicted_bytes: float | None = None
    why: str | None = None

    @property
    def whole_bytes(self) -> int | None:
        """Most bytes of the whole process: its level and the pass."""
        return None if self.base_bytes is None or self.peak_bytes is None else self.base_bytes + self.peak_bytes


@dataclass(frozen=True)
class CostExponents:
    """How time and memory of one variant grow with length; None where fewer than three lengths were measured."""

    variant: str
    seconds: Exponent | None
    memory: Exponent | None


def measure_cost(
    model: str, variant: ComparedVariant, lengths: Sequence[int] = LENGTHS, *, device: str = "cpu", seed: int = 0,
    most_seconds: float = MOST_SECONDS, said: Callable[[str], object] | None = None,
) -> list[CostRow]:  # fmt: skip
    """Measure one forward pass of a protein of each length, shortest first; one row for each length.

    The variant's fields win over `model`, so that a variant may be a checkpoint of its own. `said` is told what is
    measured now. After a length that took longer than `most_seconds`, that could not be done, or that ran out of
    memory, the longer ones are not tried. Raises EvaluationError where the process ends in another way.
    """
    rows: list[CostRow] = []
    reason: str | None = None
    for length in sorted(set(lengths)):
        if reason:
            rows.append(_left_out(variant.name, length, rows, reason))
            continue
        if said:
            said(f"measuring {variant.name} at {length:,} residues")
        found = _ask(CostQuestion({"model": model, **variant.fields}, length, device, seed), most_seconds)
        rows.append(CostRow(variant.name, length, **asdict(found)))
        reason = _why_no_longer(rows[-1], most_seconds)
    return rows


def cost_exponents(rows: Iterable[CostRow]) -> list[CostExponents]:
    """The exponents of each variant, in the order in which variants first appear; memory is that above the level."""
    by_variant: dict[str, list[CostRow]] = {}
    for row in rows:
        by_variant.setdefault(row.variant, []).append(row)
    return [CostExponents(name, *_exponents(of_it)) for name, of_it in by_variant.items()]


def _exponents(rows: Sequence[CostRow]) -> tuple[Exponent | None, Exponent | None]:
    lengths = [row.length for row in rows]
    return fit_exponent(lengths, [row.seconds for row in rows]), fit_exponent(lengths, [row.peak_bytes for row in rows])


def _why_no_longer(row: CostRow, most_seconds: float) -> str | None:
    """In words, why no longer protein is tried after this row; None to go on."""
    if row.why:
        return f"not tried, since {row.length:,} residues could not be measured"
    if row.seconds is not None and row.seconds > most_seconds:
        return f"not tried: {row.length:,} residues took {row.seconds:,.0f} s, the limit is {most_seconds:,.0f} s"
    return None


def _left_out(variant: str, length: int, rows: Sequence[CostRow], reason: str) -> CostRow:
    """A length that is not tried, with what the measured ones predict."""
    seconds, memory = _exponents(rows)
    return CostRow(
        variant, length, rows[-1].device,
        predicted_seconds=seconds.predicted(length) if seconds else None,
        predicted_bytes=memory.predicted(length) if memory else None, why=reason,
    )  # fmt: skip


def _ask(asked: CostQuestion, most_seconds: float) -> CostAnswer:
    """The answer of a fresh process."""
    command = [sys.executable, "-m", cost_process.__name__]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    question = json.dumps(_plain(asked))
    try:
        done = subprocess.run(
            command, input=question, capture_output=True, text=True, check=False,
            env=os.environ | paths | _ENVIRONMENT, timeout=60 + _STILL * most_seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        return CostAnswer(asked.device, why=f"it was ended after {late.timeout:,.0f} s")
    if done.returncode == -signal.SIGKILL:
        return CostAnswer(asked.device, why="the system killed the process, as it does where memory runs out")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise EvaluationError(
            f"the process that measures {asked.length:,} residues under {_words(asked.fields)} ended with "
            f"code {done.returncode}: {last}"
        )
    return CostAnswer(**json.loads(done.stdout.splitlines()[-1]))


def _plain(asked: CostQuestion) -> dict[str, Any]:
    return asdict(asked) | {"fields": dict(asked.fields)}


def _words(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
