"""Training: gradients against transformers, tokens a second forward and backward, a few steps of every recipe.

The share of the peak counts 6 N operations a token, N the weights of the layers (Kaplan et al. 2020): forward 2 N,
backward 4 N, attention left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from protea_ray.acceptance.drawn import sample
from protea_ray.acceptance.measure import clock, peak
from protea_ray.acceptance.verdicts import AcceptanceReport, Measured, NotHereError
from protea_ray.acceptance.ways import family_of, opened
from protea_ray.testing.random_checkpoint import build

PART = "training"
MASK = 32  # ESM-2's token <mask>
MASKED = 0.15
TINY: dict[str, Any] = {"layers": 2, "hidden": 64, "heads": 4}
GRADIENT = 1e-4  # relative, of all gradients together
LOSS = 1e-2  # relative, of a loss in half precision
PACK = {"cuda": {"650M": 8192, "150M": 16_384}, "cpu": {}}  # tokens; others MOST
MOST = {"cuda": 32_768, "cpu": 512}
SHAPES = {"cuda": ("small", "default", "8M", "35M", "150M", "650M"), "cpu": ("small",)}
COMPILED = {"cuda": ("650M", "150M", "small", "8M", "35M", "default"), "cpu": ()}  # compiling takes 10 s each
CROP = 1022
RECIPE_STEPS = 4


def check(report: AcceptanceReport, device: str, pool: Sequence[str], scratch: Path, seconds: float) -> None:
    """Add the lines of this part; one line says so where the room of training is not there."""
    report.start(seconds)
    try:
        from protea_ray.train.masked_model import MaskedModel  # noqa: F401
    except ImportError as error:
        report.not_run(PART, "every line", f"there is no training here: {error}")
        return
    proteins = sample([s for s in pool if device == "cuda" or len(s) < 100], 400 if device == "cuda" else 40, CROP)
    report.run(PART, "gradient against transformers on a CPU", lambda: _gradient(device, proteins, scratch))
    if device == "cuda":
        for dtype in ("bfloat16", "float16"):
            report.run(PART, f"small {dtype}, one step", lambda d=dtype: _half_step(device, d, proteins, scratch))
    _rates(report, SHAPES[device], False, device, proteins, scratch)
    _rates(report, COMPILED[device][:2], True, device, proteins, scratch)
    for name, fields in _recipes(device).items():
        report.run(PART, f"recipe {name}", lambda n=name, f=fields: _recipe(n, f, device, proteins, scratch))
    _rates(report, COMPILED[device][2:], True, device, proteins, scratch)


def _rates(
    report: AcceptanceReport, shapes: Sequence[str], compiled: bool, device: str, proteins: Sequence[str], scratch: Path
) -> None:
    for shape in shapes:
        name = f"{shape} bfloat16 {'compiled' if compiled else 'eager'}"
        report.run(PART, name, lambda s=shape: _throughput(s, compiled, device, proteins, scratch))


def pack_of(directory: Path, proteins: Sequence[str], tokens: int, seed: int = 0) -> Any:
    """Whole proteins up to `tokens` tokens side by side, 15 % of their residues masked: what MaskedModel takes."""
    alphabet, draw = family_of(directory).alphabet(directory), np.random.default_rng(seed)
    windows: list[np.ndarray] = []
    for number in range(len(proteins) * 64):  # short of proteins: the same again
        window = alphabet.window(alphabet.residues(proteins[number % len(proteins)]))
        if windows and sum(map(len, windows)) + len(window) > tokens:
            break
        windows.append(window)
    lengths = [len(window) for window in windows]
    rows = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate(windows).astype(np.int64)
    positions = np.arange(rows[-1]) - np.repeat(rows[:-1], lengths)
    inside = (positions > 0) & (positions < np.repeat(lengths, lengths) - 1)
    chosen = np.flatnonzero(inside & (draw.random(len(ids)) < MASKED))
    targets = ids[chosen]
    ids[chosen] = MASK
    return SimpleNamespace(
        ids=ids, positions=positions, rows=rows, chosen=chosen, targets=targets, examples=np.arange(len(windows))
    )


def _load(directory: Path, device: str, dtype: str, **options: Any) -> Any:
    from protea_ray.train.masked_model import MaskedModel

    return MaskedModel.load(directory, device=device, dtype=dtype, **options)


def _gradient(device: str, proteins: Sequence[str], scratch: Path) -> dict[str, Measured]:
    """Loss and all gradients of one pack against transformers' own model, one protein at a time on a CPU."""
    directory = build("esm2", scratch / "training-tiny", **TINY)
    pack = pack_of(directory, [s[:60] for s in proteins], 400)
    model = _load(directory, device, "float32")
    total = model(**model.to_device(pack))
    total.backward()
    loss = float(total.detach())
    mine = {name: p.grad.detach().cpu() for name, p in model.named_parameters() if p.grad is not None}
    expected, theirs = _plain_gradient(directory, pack)
    common = sorted(mine.keys() & theirs.keys())
    if not common:
        raise AssertionError(f"no parameter has the same name: {sorted(mine)[:3]} and {sorted(theirs)[:3]}")
    a, b = (torch.cat([held[name].flatten().double() for name in common]) for held in (mine, theirs))
    away = float((a - b).norm() / b.norm())
    left = sorted(theirs.keys() ^ mine.keys())
    note = f"{len(common)} parameters" + (f"; only on one side: {', '.join(left)[:120]}" if left else "")
    return {
        "loss": Measured(abs(loss - expected) / expected, GRADIENT, message=f"{loss:.3f} nats"),
        "gradients": Measured(away, GRADIENT, message=note),
    }


def _plain_gradient(directory: Path, pack: Any) -> tuple[float, dict[str, torch.Tensor]]:
    from transformers import EsmForMaskedLM

    model = EsmForMaskedLM.from_pretrained(directory).eval()  # no dropout; gradients are wanted all the same
    total = torch.zeros(())
    for first, last in zip(pack.rows[:-1], pack.rows[1:], strict=True):
        ids = torch.from_numpy(pack.ids[first:last])[None]
        here = (pack.chosen >= first) & (pack.chosen < last)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        at, wanted = (torch.from_numpy(x) for x in (pack.chosen[here] - first, pack.targets[here]))
        total = total + F.cross_entropy(logits[at], wanted, reduction="sum")
    total.backward()
    grads = {name: p.grad.detach() for name, p in model.named_parameters() if p.grad is not None}
    return float(total.detach()), grads


def _shape(name: str, scratch: Path, device: str) -> tuple[Path, float]:
    """A checkpoint of a named shape with random weights, and the weights of its layers."""
    from protea_ray.train.shape import SHAPES as OF_TRAINING

    layers, hidden, heads = OF_TRAINING[name]
    place = scratch / (f"{name}-{layers}" if name == "650M" else f"training-{name}")  # of the speed part, if it ran
    if not (place / "config.json").exists():
        build("esm2", place, layers=layers, hidden=hidden, heads=heads, device=device)
    return place, 12.0 * hidden**2 * layers


def _throughput(name: str, compiled: bool, device: str, proteins: Sequence[str], scratch: Path) -> dict[str, Measured]:
    """Tokens a second of packs forward and backward, weights in float32, products in bfloat16."""
    directory, weights = _shape(name, scratch, device)
    model = _load(directory, device, "bfloat16", compiled=compiled)
    pack = pack_of(directory, proteins, PACK[device].get(name, MOST[device]))
    inputs, tokens = model.to_device(pack), len(pack.ids)

    def forward() -> Any:
        return model(**inputs)

    def both() -> None:
        model.zero_grad(set_to_none=False)
        (forward() / len(pack.chosen)).backward()

    cuda = device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    first = clock(both, device)
    seconds = min(clock(both, device) for _ in range(4 if cuda else 2))
    memory = torch.cuda.max_memory_allocated() / 2**30 if cuda else None
    with torch.no_grad():
        forward()
        ahead = min(clock(forward, device) for _ in range(3 if cuda else 1))
    loss = float(forward().detach()) / len(pack.chosen)
    finite = all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)
    most = peak(device, "bfloat16")
    note = f"forward alone {tokens / ahead:,.0f}; packs of {tokens:,}, first use {first:.1f} s"
    note += f", {memory:.1f} GiB" if memory else ""
    return {
        "tokens/s": Measured(tokens / seconds, message=note, more={"forward": tokens / ahead, "first": first}),
        "share of the peak": Measured(6 * weights * tokens / seconds / most, message=f"of {most / 1e12:,.2f} TFLOP/s"),
        "not finite": Measured(float(not (finite and math.isfinite(loss))), 0, message=f"loss {loss:.3f} nats"),
    }


def _half_step(device: str, dtype: str, proteins: Sequence[str], scratch: Path) -> Measured:
    """A loss in half precision against float32, and one step with a loss scale that moves every weight."""
    from protea_ray.train.shape import write_fresh

    directory = write_fresh(scratch / f"training-{dtype}", "small", 0)
    pack = pack_of(directory, proteins, 4096)
    count = len(pack.chosen)
    single = _load(directory, device, "float32")
    expected = float(single(**single.to_device(pack)).detach()) / count
    model = _load(directory, device, dtype)
    parameters = [p for p in model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler(device, enabled=dtype == "float16")
    loss = torch.zeros(())
    for _ in range(4):  # the first scales may be too large
        optimiser.zero_grad()
        loss = model(**model.to_device(pack)) / count
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
    moved = sum(not torch.equal(p, b) for p, b in zip(parameters, before, strict=True))
    first = float(_load(directory, device, dtype)(**model.to_device(pack)).detach()) / count
    if moved < len(parameters):
        raise AssertionError(f"{len(parameters) - moved} of {len(parameters)} parameters did not move")
    note = (
        f"loss {expected:.3f} in float32, {float(loss.detach()):.3f} after three steps, scale {scaler.get_scale():.0f}"
    )
    return Measured(abs(first - expected) / expected, LOSS, message=note)


def _recipes(device: str) -> Mapping[str, dict[str, Any]]:
    """Fields of one run for every preset, and for what else changes a step; packs small enough for a short run."""
    steps = {"pack_tokens": 2048, "step_tokens": 4096, "tokens": RECIPE_STEPS * 4096, "warmup_steps": 2}
    few = steps | {"pack_tokens": 1024, "step_tokens": 1024, "tokens": RECIPE_STEPS * 1024}
    short = {**(steps if device == "cuda" else few), "crop": 254}
    dtype = {"dtype": "bfloat16"}
    fresh = {"shape": "small"} | short | dtype
    every: dict[str, dict[str, Any]] = {
        "small": fresh,
        "default": {"shape": "default"} | short | dtype,
        "continue": {"model": "8M"} | short | dtype,
        "small, local attention": fresh | {"attention": "local:32"},
        "small, gradient checkpointing": fresh | {"gradient_checkpointing": True},
        "small, float16": fresh | {"dtype": "float16"},
        "lora": {"model": "8M", "adapter": "lora"} | short | dtype,
        "qlora": {"model": "8M", "adapter": "qlora"} | short | dtype,
    }
    return every if device == "cuda" else {name: every[name] for name in ("small", "continue")}


def _recipe(name: str, fields: dict[str, Any], device: str, proteins: Sequence[str], scratch: Path) -> Measured:
    """Some steps of a run with its validation and its model; the model is opened as an encoder opens it."""
    try:
        from protea_ray.config.training import TrainingOptions, training_config
        from protea_ray.train.proteins import from_table
        from protea_ray.train.train_here import train_here
    except ImportError as error:
        raise NotHereError(f"the runs of training are not here: {error}") from error
    import pyarrow as pa

    if "model" in fields:
        fields = fields | {"model": str(_shape(fields["model"], scratch, device)[0])}
    half = len(proteins) // 10 or 1
    table = pa.table({
        "id": [f"p{i}" for i in range(len(proteins))], "sequence": list(proteins),
        "cluster": list(range(len(proteins))), "is_validation": [i < half for i in range(len(proteins))],
    })  # fmt: skip
    out = scratch / f"run-{name.replace(' ', '-').replace(',', '')}"
    options = TrainingOptions.model_validate({"device": device})
    done = train_here(training_config(fields), options, from_table(table), out)
    loss = None if done.validation is None else done.validation.loss
    if done.stopped:
        raise AssertionError(f"stopped: {done.stopped}")
    opened(out / "model")
    steps = f"{done.step} of {done.steps} steps, {done.tokens:,} tokens"
    return Measured(loss, message=f"{steps}; nats on the validation side, and the model opens")
