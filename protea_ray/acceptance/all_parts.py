"""The acceptance as one call: the parts one after the other, each within its time, then the picture."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from protea_ray.acceptance.verdicts import AcceptanceReport
from protea_ray.errors import ConfigError

SECONDS = {"numbers": 170.0, "quantised": 25.0, "memory": 15.0, "speed": 200.0, "training": 110.0, "pipeline": 180.0}
MIXED = {"cuda": (60, 1022), "cpu": (8, 80)}  # proteins of the parts that compare numbers, and their longest
COMPILATIONS = 256  # of one layer's code in this process, which loads it in every width and dtype; torch stops at 8
SMALL_POOL = 300  # proteins to draw from on a CPU


def accept(
    out: Path, *, only: str = "", device: str = "auto", minutes: float | None = None, proteins: str | None = None,
    say: Callable[[str], object] = print,
) -> AcceptanceReport:  # fmt: skip
    """Run the parts in `only` (names with commas between, all when empty) and write the report into `out`.

    `device` is auto, cpu or cuda; `minutes` the time of each part in place of its own; `proteins` any input of
    `protea-ray embed`, synthetic ones when None. Raises ConfigError for options that cannot work.
    """
    parts = _parts(only)
    place = _device(device)
    if minutes is not None and minutes <= 0:
        raise ConfigError(f"--minutes: must be above 0 (got {minutes:g})", where="acceptance")

    import torch

    from protea_ray.acceptance.drawn import pool
    from protea_ray.acceptance.machine import machine
    from protea_ray.acceptance.picture import draw

    torch.set_float32_matmul_precision("highest")  # TF32 would be 1e-3 off
    if place == "cpu":
        torch.set_num_threads(1)  # small shapes gain nothing from more
    else:
        import torch._dynamo.config

        torch._dynamo.config.recompile_limit = COMPILATIONS
    drawn = pool(proteins) if place == "cuda" or proteins else pool(None)[:SMALL_POOL]
    report = AcceptanceReport(Path(out), machine(place) | {"parts": ", ".join(parts)}, say)
    with tempfile.TemporaryDirectory(prefix="protea-ray-acceptance-") as scratch:
        for part in parts:
            seconds = SECONDS[part] if minutes is None else 60 * minutes
            _guarded(report, part, lambda p=part, s=seconds: _run(p, report, place, drawn, Path(scratch), s))
    if problem := draw(report.lines, report.out / "acceptance.png"):
        say(problem)
    return report


def _parts(only: str) -> list[str]:
    parts = [name.strip() for name in only.split(",") if name.strip()] or list(SECONDS)
    if unknown := [name for name in parts if name not in SECONDS]:
        raise ConfigError(f"--only: {', '.join(unknown)} is not one of {', '.join(SECONDS)}", where="acceptance")
    return [name for name in SECONDS if name in parts]


def _device(asked: str) -> str:
    import torch

    if asked not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device: must be auto, cpu or cuda (got {asked!r})", where="acceptance")
    if asked == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device: this machine has no CUDA device; use cpu or auto", where="acceptance")
    return asked if asked != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _run(part: str, report: AcceptanceReport, device: str, pool: Sequence[str], scratch: Path, seconds: float) -> None:
    """One part; what it needs is imported here, so that a part that cannot be imported stops no other."""
    from protea_ray.acceptance.drawn import mixed
    from protea_ray.acceptance.numbers import LENGTHS

    count, longest = MIXED[device]
    few = mixed(pool, count, longest, LENGTHS[device])
    if part == "numbers":
        from protea_ray.acceptance import numbers

        numbers.check(report, device, few, scratch, seconds)
    elif part == "quantised":
        from protea_ray.acceptance import quantised

        quantised.check(report, device, few, scratch, seconds)
    elif part == "memory":
        from protea_ray.acceptance import full_memory

        full_memory.check(report, device, few, scratch, seconds)
    elif part == "speed":
        from protea_ray.acceptance import speed

        speed.check(report, device, pool, scratch, seconds)
    elif part == "training":
        from protea_ray.acceptance import training_steps

        training_steps.check(report, device, pool, scratch, seconds)
    else:
        from protea_ray.acceptance import stored

        stored.check(report, device, pool, scratch, seconds)


def _guarded(report: AcceptanceReport, part: str, work: Callable[[], None]) -> None:
    """Run a part; an error outside its lines becomes a line that failed."""
    try:
        work()
    except Exception as error:
        report.failed(part, "the part itself", error)
