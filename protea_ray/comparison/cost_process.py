"""Measure what one protein costs: a program of its own, for a process that has done nothing else has clean figures.

    python -m protea_ray.comparison.cost_process < question.json

The question is one JSON object, the fields of `CostQuestion`; the answer is one too, on the last line of the output:
seconds and bytes, or `why` there are none. It loads the model, embeds a short protein to warm up, and then measures
one forward pass over the whole protein (all of its windows) with mean pooling of the last layer and nothing stored.

On a CPU the time is that of one thread (`process_time`), and the memory the kernel's high-water mark of resident
memory, which is reset after the warm-up, less what is resident then. ru_maxrss cannot be reset, so that loading would
hide a smaller forward pass, and a process inherits it from the one that started it; it is read where the kernel has no
mark (not Linux). On CUDA the time is between two events and the memory `max_memory_allocated` less what was allocated.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protea_ray.config.recipe import AlphabetName, embedding_config
from protea_ray.encoder.canary import spelt
from protea_ray.errors import ProteaRayError

if TYPE_CHECKING:
    from protea_ray.encoder.encoder import Encoder

WARM_UP = 300  # residues: more than the 256 up to which nystrom:64 is exact, so the warm-up takes the variant's path
MEASURED_FIELDS: Mapping[str, Any] = {"pooling": ("mean",), "layers": (0,), "outputs": ("embeddings",)}
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class CostQuestion:
    """What is measured: the fields of a recipe with its model, residues of the protein, seed of its letters."""

    fields: Mapping[str, Any]
    length: int
    device: str = "cpu"
    seed: int = 0


@dataclass(frozen=True)
class CostAnswer:
    """Seconds and bytes of one forward pass; `peak_bytes` is above `base_bytes`. `why` says why there are none."""

    device: str
    seconds: float | None = None
    wall_seconds: float | None = None
    base_bytes: int | None = None
    peak_bytes: int | None = None
    why: str | None = None


def main() -> None:
    """Answer the question on standard input; exits with 0 whenever there is an answer, also where it is `why`."""
    asked = CostQuestion(**json.load(sys.stdin))
    print(json.dumps(asdict(answer(asked))), flush=True)


def answer(asked: CostQuestion) -> CostAnswer:
    """Load the model and measure. What the model or the machine cannot do is an answer without figures."""
    try:
        return _measured(asked)
    except ProteaRayError as error:
        return CostAnswer(asked.device, why=" ".join(str(error).split()))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):  # what torch's CPU allocator says
            raise
        return CostAnswer(asked.device, why="there is not enough memory")


def _measured(asked: CostQuestion) -> CostAnswer:
    import torch

    from protea_ray.encoder.in_memory import encoder_here
    from protea_ray.models.checkpoint import open_checkpoint

    torch.set_num_threads(1)
    config = embedding_config({**asked.fields, **MEASURED_FIELDS}, where="cost")
    checkpoint = open_checkpoint(config.model, config.revision, config.family)
    encoder = encoder_here(checkpoint, config, asked.device, compiled="off")  # compiling would be in the time
    alphabet = encoder.recipes[0].alphabet or "aa"
    _embed(encoder, random_protein(WARM_UP, asked.seed, alphabet))
    protein = random_protein(asked.length, asked.seed, alphabet)
    kind = encoder.core.device.type
    gc.collect()
    measure = _on_cuda if kind == "cuda" else _on_cpu
    seconds, wall, base, peak, why = measure(lambda: _embed(encoder, protein))
    return CostAnswer(kind, why=why) if why else CostAnswer(kind, seconds, wall, base, max(peak - base, 0))


def random_protein(length: int, seed: int, alphabet: AlphabetName = "aa") -> str:
    """`length` letters drawn evenly from the 20 amino acids, for the cost of a pass, which they do not change."""
    drawn = np.random.default_rng(seed).integers(0, len(_LETTERS), length)
    return spelt("".join(_LETTERS[i] for i in drawn), alphabet)


def _embed(encoder: Encoder, protein: str) -> str | None:
    """One pass; returns why the protein was rejected, None when it was embedded."""
    from protea_ray.encoder.collect import Rejected

    (result,) = encoder.embed([protein])
    return f"{result.reason}: {result.detail}" if isinstance(result, Rejected) else None


def _on_cpu(work: Callable[[], str | None]) -> tuple[float, float, int, int, str | None]:
    """CPU seconds, wall seconds, bytes before, most bytes, and why the work failed."""
    base = _forget_peak()
    started, used = time.perf_counter(), time.process_time()
    why = work()
    used, wall = time.process_time() - used, time.perf_counter() - started
    return used, wall, base, _peak(), why


def _on_cuda(work: Callable[[], str | None]) -> tuple[float, float, int, int, str | None]:
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    base, (first, last) = torch.cuda.memory_allocated(), (torch.cuda.Event(enable_timing=True) for _ in range(2))
    started = time.perf_counter()
    first.record()
    why = work()
    last.record()
    torch.cuda.synchronize()
    wall = time.perf_counter() - started
    return first.elapsed_time(last) / 1000, wall, base, torch.cuda.max_memory_allocated(), why


def _forget_peak() -> int:
    """Reset the high-water mark to what is resident now, and return that, in bytes."""
    with suppress(OSError):
        _CLEAR.write_text("5")
        return _resident("VmRSS")
    return _peak()


def _peak() -> int:
    """Most bytes that were resident since `_forget_peak`, or since the start where the kernel keeps no mark."""
    if _CLEAR.exists():
        return _resident("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _resident(field: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


if __name__ == "__main__":
    main()
